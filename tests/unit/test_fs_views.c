/*
 * Views of labels in the tree: numbers, attributes, listings in parts, ACLs, and what of it can't
 * be changed, staged or told of.
 */
#include "helpers.h"
#include "tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct tree tree_of(struct store *s, const char *subdir)
{
    struct tree t = TREE_INIT(s);
    assert_int_equal(tree_set_top(&t, subdir), 0);
    return t;
}

static void put_pending(struct store *s, const char *path, const char *text)
{
    SECBUF_AUTO struct secbuf value = secret_of(text, strlen(text));
    uint32_t number;
    assert_ok(store_begin(s));
    assert_ok(store_put_pending(s, path, &value, &number));
    assert_ok(store_commit(s));
}

static struct stat lookup(struct tree *t, uint64_t directory, const char *name)
{
    struct stat st;
    struct stat same;
    assert_int_equal(tree_lookup(t, directory, name, &st), 0);
    assert_int_equal(tree_stat(t, st.st_ino, &same), 0);
    assert_memory_equal(&st, &same, sizeof st);
    return st;
}

static void assert_none(struct tree *t, uint64_t directory, const char *name)
{
    struct stat st;
    assert_int_equal(tree_lookup(t, directory, name, &st), ENOENT);
}

/* `dir/a` with the values "one", "three" and "pending", and "b". */
static struct store *filled(const struct fixture *f)
{
    struct store *s = open_store(f, STORE_READ_WRITE);
    make_directory(s, "dir");
    put_text(s, "dir/a", "one");
    put_text(s, "dir/a", "three");
    put_pending(s, "dir/a", "pending");
    put_text(s, "b", "b");
    return s;
}

static void test_numbers(void **state)
{
    struct store *s = filled(*state);
    struct tree t = tree_of(s, NULL);
    static struct store_details d;
    uint64_t dir = lookup(&t, STORE_ROOT_ID, "dir").st_ino;
    assert_ok(store_details(s, resolve(s, "dir/a").node, &d));

    assert_int_equal(tree_view(STORE_LABEL_CURRENT, 17), 17);
    assert_false(tree_is_view(INT64_MAX >> 3));
    static const char *const names[] = {"@previous", "@pending"};
    const uint64_t versions[] = {d.previous, d.pending};
    const off_t sizes[] = {3, 7};
    for (int i = 0; i < 2; i++) {
        enum store_label label = (enum store_label)(i + 1);
        struct stat top = lookup(&t, STORE_ROOT_ID, names[i]);
        assert_int_equal(top.st_ino, tree_view(label, STORE_ROOT_ID));
        assert_true(top.st_ino <= INT64_MAX); /* for programs that take it for a signed number */
        struct stat folder = lookup(&t, top.st_ino, "dir");
        assert_int_equal(folder.st_ino, tree_view(label, dir));
        assert_true(S_ISDIR(folder.st_mode) && folder.st_nlink == 2);
        struct stat file = lookup(&t, folder.st_ino, "a");
        assert_int_equal(file.st_ino, tree_view(label, versions[i]));
        assert_true(tree_is_view(file.st_ino));
        assert_int_equal(tree_id(file.st_ino), versions[i]);
        assert_int_equal(file.st_size, sizes[i]);
        assert_int_equal(file.st_nlink, 1);
        assert_int_equal(tree_open(&t, file.st_ino), 0);
        assert_int_equal(tree_open(&t, folder.st_ino), EISDIR);
        assert_none(&t, top.st_ino, "b");
        assert_none(&t, top.st_ino, "@previous");
        assert_none(&t, folder.st_ino, "@pending");
    }
    static const char *const none[] = {"@", "@current", "@previous ", "@Pending", "previous"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_none(&t, STORE_ROOT_ID, none[i]);
    assert_none(&t, dir, "@previous");
    assert_none(&t, TREE_SUPERBLOCK_ROOT, "@previous");

    struct stat st;
    assert_int_equal(tree_stat(&t, tree_view(STORE_LABEL_PENDING, 9999), &st), ESTALE);
    assert_int_equal(tree_open(&t, tree_view(STORE_LABEL_PENDING, 9999)), ESTALE);
    assert_int_equal(tree_lookup(&t, tree_view(STORE_LABEL_PENDING, 9999), "a", &st), ENOENT);
    store_close(s);
}

/* Where the top is not the store's root, a name of the store's own goes first. */
static void test_tops(void **state)
{
    struct store *s = filled(*state);
    struct tree t = tree_of(s, "dir");
    uint64_t view = tree_view(STORE_LABEL_PREVIOUS, t.top);

    assert_int_equal(lookup(&t, t.top, "@previous").st_ino, view);
    assert_int_equal(lookup(&t, view, "a").st_size, 3);
    put_text(s, "dir/@previous", "own");
    assert_false(tree_is_view(lookup(&t, t.top, "@previous").st_ino));
    assert_int_equal(lookup(&t, view, "a").st_size, 3); /* for who is in it already */
    assert_none(&t, view, "@previous");
    remove_path(s, "dir/@previous");

    t.top_is_root = true; /* the kernel's number 1 */
    struct stat st;
    assert_int_equal(tree_lookup(&t, TREE_SUPERBLOCK_ROOT, "@previous", &st), 0);
    assert_int_equal(st.st_ino, view);
    assert_int_equal(tree_kernel_ino(&t, view), view);
    store_close(s);
}

/* ---- Listings -------------------------------------------------------------------------------- */

struct entries {
    char text[256];
    uint64_t cookie;
    unsigned room;
};

static bool note(void *arg, const char *name, const struct stat *st, uint64_t cookie)
{
    struct entries *e = arg;
    size_t len = strlen(e->text);
    if (e->room-- == 0)
        return false;
    snprintf(e->text + len, sizeof e->text - len, "%s:%d:%d ", name,
             (int)(st->st_ino >> TREE_VIEW_SHIFT), (int)tree_id(st->st_ino));
    e->cookie = cookie;
    return true;
}

static void assert_listed(struct tree *t, uint64_t directory, const char *expected)
{
    for (unsigned room = 1; room < 5; room++) { /* in parts of so many entries */
        struct entries e = {.room = room};
        uint64_t before;
        do {
            before = e.cookie;
            e.room = room;
            assert_int_equal(tree_list(t, directory, e.cookie, note, &e), 0);
        } while (e.cookie != before);
        assert_string_equal(e.text, expected);
    }
}

static void test_listings(void **state)
{
    struct store *s = filled(*state);
    struct tree t = tree_of(s, NULL);
    char expected[256];
    static struct store_details d;
    int dir = (int)resolve(s, "dir").node;
    assert_ok(store_details(s, resolve(s, "dir/a").node, &d));

    snprintf(expected, sizeof expected, ".:0:16 ..:0:1 dir:0:%d b:0:%d ", dir,
             (int)resolve(s, "b").version);
    assert_listed(&t, STORE_ROOT_ID, expected);
    snprintf(expected, sizeof expected, ".:1:16 ..:0:16 dir:1:%d ", dir);
    assert_listed(&t, tree_view(STORE_LABEL_PREVIOUS, STORE_ROOT_ID), expected);
    snprintf(expected, sizeof expected, ".:1:%d ..:1:16 a:1:%d ", dir, (int)d.previous);
    assert_listed(&t, tree_view(STORE_LABEL_PREVIOUS, (uint64_t)dir), expected);
    snprintf(expected, sizeof expected, ".:2:%d ..:2:16 a:2:%d ", dir, (int)d.pending);
    assert_listed(&t, tree_view(STORE_LABEL_PENDING, (uint64_t)dir), expected);
    struct entries e = {.room = 9};
    assert_int_equal(tree_list(&t, tree_view(STORE_LABEL_PENDING, 9999), 0, note, &e), ESTALE);
    assert_int_equal(
        tree_list(&t, tree_view(STORE_LABEL_PENDING, resolve(s, "b").version), 0, note, &e),
        ENOTDIR);
    store_close(s);
}

/* ---- Policy, refusals ------------------------------------------------------------------------ */

static void test_acls(void **state)
{
    struct store *s = filled(*state);
    struct tree t = tree_of(s, NULL);
    unsigned char acl[TREE_ACL_MAX];
    unsigned char same[TREE_ACL_MAX];
    size_t len = 0;
    size_t same_len = 1;
    struct policy policy = policy_make(1, 2, 0440);
    uint64_t dir = tree_view(STORE_LABEL_PENDING, resolve(s, "dir").node);
    uint64_t pending = lookup(&t, dir, "a").st_ino;

    assert_int_equal(tree_acl(&t, pending, acl, &len), 0);
    assert_int_equal(len, 0);
    assert_ok(policy_set_entry(&policy, POLICY_USER, 1000, 4));
    assert_ok(store_begin(s));
    assert_ok(store_set_policy(s, "dir/a", &policy));
    assert_ok(store_commit(s));
    assert_int_equal(tree_acl(&t, pending, acl, &len), 0);
    assert_int_equal(tree_acl(&t, resolve(s, "dir/a").version, same, &same_len), 0);
    assert_int_equal(len, same_len);
    assert_memory_equal(acl, same, len);
    assert_int_equal(lookup(&t, dir, "a").st_uid, 1);
    assert_int_equal(tree_acl(&t, tree_view(STORE_LABEL_PENDING, 9999), acl, &len), ESTALE);
    store_close(s);
}

static void test_refusals(void **state)
{
    struct store *s = filled(*state);
    struct tree t = tree_of(s, "dir");
    uint64_t view = tree_view(STORE_LABEL_PENDING, t.top);
    uint64_t pending = lookup(&t, view, "a").st_ino;
    char number[32];
    uint64_t shown;
    struct stat st;

    assert_int_equal(tree_unlink(&t, view, "a"), EROFS);
    assert_int_equal(tree_unlink(&t, view, "none"), EROFS);
    assert_int_equal(tree_unlink(&t, t.top, "@pending"), EROFS);
    snprintf(number, sizeof number, "%llu", (unsigned long long)pending);
    assert_int_equal(tree_lookup(&t, TREE_STAGE, number, &st), ENOENT);
    assert_int_equal(tree_lookup(&t, TREE_INODE, number, &st), ENOENT);
    assert_int_equal(tree_show(&t, number, t.top, "a", &shown), ENOENT);
    snprintf(number, sizeof number, "%llu", (unsigned long long)resolve(s, "dir/a").version);
    assert_int_equal(tree_show(&t, number, view, "a", &shown), ENOENT);

    assert_ok(store_begin(s));
    assert_ok(store_revoke(s, "dir/a", 3));
    assert_ok(store_commit(s));
    assert_int_equal(lookup(&t, view, "a").st_ino, pending);
    assert_int_equal(tree_open(&t, pending), EKEYREVOKED);
    remove_path(s, "dir/a");
    assert_none(&t, view, "a");
    assert_int_equal(tree_open(&t, pending), ENOENT);
    assert_int_equal(tree_stat(&t, pending, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_numbers), store_test(test_tops),     store_test(test_listings),
        store_test(test_acls),    store_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
