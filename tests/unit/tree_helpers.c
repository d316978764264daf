/* See tree_helpers.h. */
#include "tree_helpers.h"

struct tree tree_of(struct store *s, const char *subdir)
{
    struct tree t = {.store = s};
    assert_int_equal(tree_set_top(&t, subdir), 0);
    return t;
}

struct stat stat_of(struct tree *t, uint64_t ino)
{
    struct stat st;
    assert_int_equal(tree_stat(t, ino, &st), 0);
    assert_int_equal(st.st_ino, ino);
    return st;
}

struct stat lookup(struct tree *t, uint64_t directory, const char *name)
{
    struct stat st;
    assert_int_equal(tree_lookup(t, directory, name, &st), 0);
    struct stat same = stat_of(t, st.st_ino);
    assert_memory_equal(&st, &same, sizeof st);
    return st;
}

void set_policy(struct store *s, const char *path, const struct policy *policy)
{
    assert_ok(store_begin(s));
    assert_ok(store_set_policy(s, path, policy));
    assert_ok(store_commit(s));
}

void move_path(struct store *s, const char *from, const char *to)
{
    assert_ok(store_begin(s));
    assert_ok(store_move(s, from, to));
    assert_ok(store_commit(s));
}
