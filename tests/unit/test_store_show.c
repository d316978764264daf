/*
 * Names that are held until they are shown: what lookups and listings say meanwhile, what is
 * refused, and how the next process goes on where the last one stopped.
 */
#include "changes.h"
#include "helpers.h"

#include <stdio.h>
#include <string.h>

/* A writer, and a follower that holds names. */
struct pair {
    struct store *writer;
    struct store *follower;
};

/* Hold what follows, nothing of what there is. */
static struct pair open_pair(const struct fixture *f)
{
    struct pair p = {.writer = open_store(f, STORE_READ_WRITE)};
    p.follower = open_store(f, STORE_READ_ONLY);
    store_hold_names(p.follower, store_next_id(p.follower));
    return p;
}

static void close_pair(struct pair *p)
{
    store_close(p->writer);
    store_close(p->follower);
}

static void follow(struct pair *p)
{
    assert_ok(store_refresh(p->follower, NULL));
}

/* The follower ends, and another begins, to which only versions and directories below `first` had
 * been shown. */
static void restart(const struct fixture *f, struct pair *p, uint64_t first)
{
    store_close(p->follower);
    p->follower = open_store(f, STORE_READ_ONLY);
    store_hold_names(p->follower, first);
}

static void move_path(struct store *s, const char *from, const char *to)
{
    assert_ok(store_begin(s));
    assert_ok(store_move(s, from, to));
    assert_ok(store_commit(s));
}

static void set_current(struct store *s, const char *path, uint32_t number)
{
    assert_ok(store_begin(s));
    assert_ok(store_set_current(s, path, number));
    assert_ok(store_commit(s));
}

static void restore_path(struct store *s, const char *path)
{
    assert_ok(store_begin(s));
    assert_ok(store_restore(s, path));
    assert_ok(store_commit(s));
}

struct listed {
    const char *name;
    struct store_attr attr;
    bool found;
};

static bool look_for(void *arg, const char *name, const struct store_attr *attr)
{
    struct listed *l = arg;
    if (strcmp(name, l->name) == 0) {
        assert_false(l->found);
        l->found = true;
        l->attr = *attr;
    }
    return true;
}

/* The version (of a directory: its id) that a name shows; 0 if it is not there. A listing must say
 * the same. */
static uint64_t shown(struct store *s, uint64_t directory, const char *name)
{
    struct listed l = {.name = name};
    struct store_attr attr;
    enum store_err err = store_lookup(s, directory, name, &attr);

    assert_ok(store_list(s, directory, 0, look_for, &l));
    assert_int_equal(l.found, err == STORE_OK);
    if (err) {
        assert_error(err, STORE_ERR_NOT_FOUND);
        return 0;
    }
    assert_int_equal(attr.node, l.attr.node);
    assert_int_equal(attr.version, l.attr.version);
    assert_int_equal(attr.current, l.attr.current);
    assert_int_equal(attr.size_bytes, l.attr.size_bytes);
    return attr.kind == STORE_SECRET ? attr.version : attr.node;
}

static struct store_attr stat_of(struct store *s, uint64_t id)
{
    struct store_attr attr;
    assert_ok(store_stat(s, id, &attr));
    return attr;
}

#define ROOT STORE_ROOT_ID

/* ---- One change of each kind ----------------------------------------------------------------- */

static void test_nothing_is_held_before(void **state)
{
    struct fixture *f = *state;
    struct store *writer = open_store(f, STORE_READ_WRITE);
    struct store *follower = open_store(f, STORE_READ_ONLY);

    put_text(writer, "a", "one");
    assert_ok(store_refresh(follower, NULL));
    put_text(writer, "a", "two");
    assert_ok(store_refresh(follower, NULL));
    struct store_attr a = resolve(writer, "a");
    assert_int_equal(shown(follower, ROOT, "a"), a.version);
    assert_false(store_is_held(follower, a.node));
    assert_ok(store_show(follower, a.version, ROOT, "a"));
    store_close(writer);
    store_close(follower);
}

static void test_rotated(void **state)
{
    struct fixture *f = *state;
    struct store *before = open_store(f, STORE_READ_WRITE);
    put_text(before, "a", "one");
    put_text(before, "beside", "beside");
    store_close(before);
    struct pair p = open_pair(f);
    uint64_t one = shown(p.follower, ROOT, "a");
    uint64_t beside = shown(p.follower, ROOT, "beside");

    put_text(p.writer, "a", "number two");
    struct store_attr two = resolve(p.writer, "a");
    follow(&p);
    assert_true(store_is_held(p.follower, two.node));
    assert_int_equal(shown(p.follower, ROOT, "a"), one);
    struct store_attr held = stat_of(p.follower, one);
    assert_int_equal(held.current, one);
    assert_int_equal(held.size_bytes, 3);
    assert_int_equal(stat_of(p.follower, two.version).version, two.version);
    assert_int_equal(stat_of(p.follower, two.version).current, one);
    assert_int_equal(stat_of(p.follower, two.version).size_bytes, 10);

    /* Only what is current, and under its name. */
    assert_error(store_show(p.follower, one, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, two.version, ROOT, "b"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, two.version, ROOT, "beside"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, two.version, two.node, "a"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, two.version, ROOT, ""), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, two.node, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, beside, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, 0, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, two.version + 1, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_error(store_show(p.follower, UINT64_MAX, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_int_equal(shown(p.follower, ROOT, "a"), one);
    assert_true(store_is_held(p.follower, two.node));

    assert_ok(store_show(p.follower, two.version, ROOT, "a"));
    assert_int_equal(shown(p.follower, ROOT, "a"), two.version);
    assert_false(store_is_held(p.follower, two.node));
    assert_int_equal(stat_of(p.follower, one).current, two.version);
    assert_ok(store_show(p.follower, two.version, ROOT, "a")); /* again: nothing happens */
    assert_int_equal(shown(p.follower, ROOT, "a"), two.version);
    assert_int_equal(shown(p.follower, ROOT, "beside"), beside);
    close_pair(&p);
}

/* Several versions between two looks: only the last is to be shown. */
static void test_rotated_twice_and_back(void **state)
{
    struct fixture *f = *state;
    struct store *before = open_store(f, STORE_READ_WRITE);
    put_text(before, "a", "one");
    store_close(before);
    struct pair p = open_pair(f);
    uint64_t one = shown(p.follower, ROOT, "a");
    uint64_t node = resolve(p.writer, "a").node;

    put_text(p.writer, "a", "two");
    uint64_t two = resolve(p.writer, "a").version;
    follow(&p);
    put_text(p.writer, "a", "three");
    uint64_t three = resolve(p.writer, "a").version;
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "a"), one);
    assert_error(store_show(p.follower, two, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_ok(store_show(p.follower, three, ROOT, "a"));
    assert_int_equal(shown(p.follower, ROOT, "a"), three);

    set_current(p.writer, "a", 1);
    follow(&p);
    assert_true(store_is_held(p.follower, node));
    assert_int_equal(shown(p.follower, ROOT, "a"), three);
    set_current(p.writer, "a", 3); /* to where it was: there is nothing to show */
    follow(&p);
    assert_false(store_is_held(p.follower, node));
    set_current(p.writer, "a", 1);
    follow(&p);
    assert_ok(store_show(p.follower, one, 0, NULL)); /* wherever it is */
    assert_int_equal(shown(p.follower, ROOT, "a"), one);
    close_pair(&p);
}

static void test_policies_are_not_held(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    put_text(p.writer, "a", "one");
    follow(&p);
    struct store_attr a = resolve(p.writer, "a");
    assert_ok(store_show(p.follower, a.version, ROOT, "a"));
    set_mode(p.writer, "a", 0440);
    set_mode(p.writer, "/", 0711);
    follow(&p);
    assert_false(store_is_held(p.follower, a.node));
    assert_false(store_is_held(p.follower, ROOT));
    assert_int_equal(stat_of(p.follower, a.version).mode, 0440);

    /* Nor does a policy show what is held. */
    put_text(p.writer, "a", "two");
    follow(&p);
    set_mode(p.writer, "a", 0444);
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "a"), a.version);
    assert_int_equal(stat_of(p.follower, a.version).mode, 0444);
    close_pair(&p);
}

static void test_new(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    make_directory(p.writer, "dir");
    put_text(p.writer, "dir/a", "one");
    follow(&p);
    struct store_attr dir = resolve(p.writer, "dir");
    struct store_attr a = resolve(p.writer, "dir/a");
    assert_true(store_is_held(p.follower, dir.node));
    assert_true(store_is_held(p.follower, a.node));
    assert_int_equal(shown(p.follower, ROOT, "dir"), 0);
    assert_int_equal(shown(p.follower, dir.node, "a"), 0);
    assert_int_equal(stat_of(p.follower, a.version).version, a.version);
    assert_int_equal(stat_of(p.follower, a.version).current, 0); /* no path shows it */

    assert_error(store_show(p.follower, dir.node, dir.node, "dir"), STORE_ERR_NOT_FOUND);
    assert_ok(store_show(p.follower, dir.node, ROOT, "dir"));
    assert_int_equal(shown(p.follower, ROOT, "dir"), dir.node);
    assert_int_equal(shown(p.follower, dir.node, "a"), 0);

    put_text(p.writer, "dir/a", "two"); /* before its first version was shown */
    follow(&p);
    assert_int_equal(shown(p.follower, dir.node, "a"), 0);
    assert_error(store_show(p.follower, a.version, dir.node, "a"), STORE_ERR_NOT_FOUND);
    uint64_t two = resolve(p.writer, "dir/a").version;
    assert_ok(store_show(p.follower, two, dir.node, "a"));
    assert_int_equal(shown(p.follower, dir.node, "a"), two);
    assert_int_equal(stat_of(p.follower, two).current, two);
    close_pair(&p);
}

static void test_moved(void **state)
{
    struct fixture *f = *state;
    struct store *before = open_store(f, STORE_READ_WRITE);
    make_directory(before, "dir");
    put_text(before, "a", "one");
    put_text(before, "dir/in", "in");
    store_close(before);
    struct pair p = open_pair(f);
    struct store_attr a = resolve(p.writer, "a");
    struct store_attr in = resolve(p.writer, "dir/in");

    move_path(p.writer, "a", "dir/b");
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "a"), 0);
    assert_int_equal(shown(p.follower, in.parent, "b"), 0);
    put_text(p.writer, "a", "successor"); /* of the name */
    follow(&p);
    struct store_attr successor = resolve(p.writer, "a");
    assert_int_equal(shown(p.follower, ROOT, "a"), 0);
    assert_error(store_show(p.follower, a.version, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_ok(store_show(p.follower, a.version, in.parent, "b"));
    assert_ok(store_show(p.follower, successor.version, ROOT, "a"));
    assert_int_equal(shown(p.follower, in.parent, "b"), a.version);
    assert_int_equal(shown(p.follower, ROOT, "a"), successor.version);

    /* A directory keeps what is in it. */
    move_path(p.writer, "dir", "other");
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "dir"), 0);
    assert_int_equal(shown(p.follower, ROOT, "other"), 0);
    assert_int_equal(shown(p.follower, in.parent, "in"), in.version);
    move_path(p.writer, "other", "dir"); /* back, unseen: it has still to be shown */
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "dir"), 0);
    assert_ok(store_show(p.follower, in.parent, ROOT, "dir"));
    assert_int_equal(shown(p.follower, ROOT, "dir"), in.parent);
    close_pair(&p);
}

static void test_exchanged(void **state)
{
    struct fixture *f = *state;
    struct store *before = open_store(f, STORE_READ_WRITE);
    put_text(before, "a", "one");
    put_text(before, "b", "two");
    store_close(before);
    struct pair p = open_pair(f);
    uint64_t one = shown(p.follower, ROOT, "a");
    uint64_t two = shown(p.follower, ROOT, "b");

    assert_ok(store_begin(p.writer));
    assert_ok(store_move(p.writer, "a", "t"));
    assert_ok(store_move(p.writer, "b", "a"));
    assert_ok(store_move(p.writer, "t", "b"));
    assert_ok(store_commit(p.writer));
    follow(&p);
    assert_error(store_show(p.follower, one, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_ok(store_show(p.follower, one, ROOT, "b"));
    assert_ok(store_show(p.follower, two, ROOT, "a"));
    assert_int_equal(shown(p.follower, ROOT, "a"), two);
    assert_int_equal(shown(p.follower, ROOT, "b"), one);
    assert_int_equal(shown(p.follower, ROOT, "t"), 0);
    close_pair(&p);
}

/* What is removed is gone at once, held or not, and needs showing when it comes back. */
static void test_removed_and_restored(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    make_directory(p.writer, "dir");
    put_text(p.writer, "a", "one");
    follow(&p);
    struct store_attr a = resolve(p.writer, "a");
    uint64_t dir = resolve(p.writer, "dir").node;
    assert_ok(store_show(p.follower, dir, ROOT, "dir"));

    remove_path(p.writer, "a"); /* while it is held */
    follow(&p);
    assert_false(store_is_held(p.follower, a.node));
    assert_int_equal(shown(p.follower, ROOT, "a"), 0);
    assert_error(store_show(p.follower, a.version, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_true(stat_of(p.follower, a.version).deleted);

    restore_path(p.writer, "a");
    follow(&p);
    assert_true(store_is_held(p.follower, a.node));
    assert_int_equal(shown(p.follower, ROOT, "a"), 0);
    assert_ok(store_show(p.follower, a.version, ROOT, "a"));
    assert_int_equal(shown(p.follower, ROOT, "a"), a.version);

    remove_path(p.writer, "dir");
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "dir"), 0);
    restore_path(p.writer, "dir");
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "dir"), 0);
    assert_ok(store_show(p.follower, dir, 0, NULL));
    assert_int_equal(shown(p.follower, ROOT, "dir"), dir);

    /* Removed and restored between two looks: as if nothing had been. */
    remove_path(p.writer, "a");
    restore_path(p.writer, "a");
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "a"), a.version);

    /* Removed and purged while a version is held: there is nothing left to ask for. */
    put_text(p.writer, "a", "two");
    follow(&p);
    remove_path(p.writer, "a");
    assert_ok(store_begin(p.writer));
    assert_ok(store_purge(p.writer, "a"));
    assert_ok(store_commit(p.writer));
    follow(&p);
    assert_false(store_is_held(p.follower, a.node));
    assert_error(store_show(p.follower, a.version, ROOT, "a"), STORE_ERR_NOT_FOUND);
    assert_int_equal(shown(p.follower, ROOT, "a"), 0);
    close_pair(&p);
}

/* The version that is shown goes beyond those that are kept: its name shows the current one. */
static void test_dropped_while_shown(void **state)
{
    struct fixture *f = *state;
    struct store *before = open_store(f, STORE_READ_WRITE);
    put_text(before, "a", "first");
    store_close(before);
    struct pair p = open_pair(f);
    uint64_t first = shown(p.follower, ROOT, "a");
    char text[16];

    for (unsigned i = 1; i <= STORE_VERSIONS_KEPT; i++) {
        assert_int_equal(shown(p.follower, ROOT, "a"), first);
        snprintf(text, sizeof text, "%u", i);
        put_text(p.writer, "a", text);
        follow(&p);
    }
    struct store_attr last = resolve(p.writer, "a");
    assert_error(store_stat(p.follower, first, &(struct store_attr){0}), STORE_ERR_NOT_FOUND);
    assert_int_equal(shown(p.follower, ROOT, "a"), last.version);
    assert_false(store_is_held(p.follower, last.node));
    put_text(p.writer, "a", "more");
    follow(&p);
    assert_int_equal(shown(p.follower, ROOT, "a"), last.version); /* and holds again */
    close_pair(&p);
}

/* ---- After a restart ------------------------------------------------------------------------- */

static void test_restart(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    put_text(p.writer, "rotated", "one");
    put_text(p.writer, "kept", "kept");
    make_directory(p.writer, "dir");
    uint64_t one = resolve(p.writer, "rotated").version;
    uint64_t kept = resolve(p.writer, "kept").version;
    uint64_t dir = resolve(p.writer, "dir").node;
    uint64_t first = store_next_id(p.writer);
    put_text(p.writer, "rotated", "two");
    put_text(p.writer, "rotated", "three");
    put_text(p.writer, "new", "new");
    make_directory(p.writer, "dir/sub");
    struct store_attr three = resolve(p.writer, "rotated");
    struct store_attr new = resolve(p.writer, "new");
    uint64_t sub = resolve(p.writer, "dir/sub").node;

    restart(f, &p, first); /* names are as they were then */
    assert_int_equal(shown(p.follower, ROOT, "rotated"), one);
    assert_int_equal(shown(p.follower, ROOT, "kept"), kept);
    assert_int_equal(shown(p.follower, ROOT, "new"), 0);
    assert_int_equal(shown(p.follower, ROOT, "dir"), dir);
    assert_int_equal(shown(p.follower, dir, "sub"), 0);
    assert_true(store_is_held(p.follower, three.node));
    assert_true(store_is_held(p.follower, new.node));
    assert_true(store_is_held(p.follower, sub));
    assert_false(store_is_held(p.follower, ROOT));

    restart(f, &p, three.version + 1); /* that far was shown before the next end */
    assert_int_equal(shown(p.follower, ROOT, "rotated"), three.version);
    assert_int_equal(shown(p.follower, ROOT, "new"), 0);
    assert_int_equal(shown(p.follower, dir, "sub"), 0);

    restart(f, &p, three.version); /* a version between, that the name never showed */
    assert_int_equal(shown(p.follower, ROOT, "rotated"), three.version - 1);

    restart(f, &p, store_next_id(p.writer));
    assert_int_equal(shown(p.follower, ROOT, "new"), new.version);
    assert_int_equal(shown(p.follower, dir, "sub"), sub);

    restart(f, &p, UINT64_MAX);
    assert_int_equal(shown(p.follower, ROOT, "new"), new.version);

    restart(f, &p, 0); /* nothing was ever shown */
    assert_int_equal(shown(p.follower, ROOT, "rotated"), 0);
    assert_int_equal(shown(p.follower, ROOT, "dir"), 0);
    assert_ok(store_show(p.follower, three.version, ROOT, "rotated"));
    assert_int_equal(shown(p.follower, ROOT, "rotated"), three.version);
    close_pair(&p);
}

static void test_next_id(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    uint64_t next = store_next_id(p.follower);

    assert_int_equal(next, store_next_id(p.writer));
    put_text(p.writer, "a", "one");
    assert_int_equal(store_next_id(p.follower), next); /* what it has seen */
    follow(&p);
    assert_int_equal(store_next_id(p.follower), store_next_id(p.writer));
    assert_true(resolve(p.writer, "a").version < store_next_id(p.follower));
    assert_true(resolve(p.writer, "a").version >= next);
    close_pair(&p);
}

/* ---- Paths ----------------------------------------------------------------------------------- */

static void assert_path(struct store *s, uint64_t top, uint64_t node, const char *expected)
{
    char path[STORE_PATH_MAX];
    assert_ok(store_path_below(s, top, node, path));
    assert_string_equal(path, expected);
}

#define assert_no_path(s, top, node, expected) \
    assert_error(store_path_below(s, top, node, (char[STORE_PATH_MAX]){0}), expected)

static void test_path(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    make_directory(p.writer, "a");
    make_directory(p.writer, "a/b");
    make_directory(p.writer, "a/bb");
    put_text(p.writer, "a/b/s", "value");
    follow(&p);
    uint64_t a = resolve(p.writer, "a").node;
    uint64_t b = resolve(p.writer, "a/b").node;
    uint64_t bb = resolve(p.writer, "a/bb").node;
    struct store_attr s = resolve(p.writer, "a/b/s");

    /* Its own name may be held, none on the way. */
    assert_path(p.follower, ROOT, a, "a");
    assert_no_path(p.follower, ROOT, b, STORE_ERR_NOT_FOUND);
    assert_no_path(p.follower, ROOT, s.node, STORE_ERR_NOT_FOUND);
    assert_ok(store_show(p.follower, a, ROOT, "a"));
    assert_path(p.follower, ROOT, b, "a/b");
    assert_no_path(p.follower, ROOT, s.node, STORE_ERR_NOT_FOUND);
    assert_ok(store_show(p.follower, b, a, "b"));
    assert_path(p.follower, ROOT, s.node, "a/b/s");

    assert_path(p.follower, a, s.node, "b/s");
    assert_path(p.follower, b, s.node, "s");
    assert_path(p.follower, ROOT, ROOT, "");
    assert_path(p.follower, a, a, "");
    assert_no_path(p.follower, bb, s.node, STORE_ERR_INVALID);
    assert_no_path(p.follower, b, a, STORE_ERR_INVALID);
    assert_no_path(p.follower, a, ROOT, STORE_ERR_INVALID);
    assert_no_path(p.follower, ROOT, 9999, STORE_ERR_INVALID);
    assert_no_path(p.follower, 9999, s.node, STORE_ERR_INVALID);
    assert_no_path(p.follower, ROOT, s.version, STORE_ERR_INVALID); /* a version has no name */

    /* A directory above the top that is held does not matter. */
    move_path(p.writer, "a", "c");
    follow(&p);
    assert_no_path(p.follower, ROOT, s.node, STORE_ERR_NOT_FOUND);
    assert_path(p.follower, b, s.node, "s");
    close_pair(&p);
}

/* STORE_DEPTH_MAX names of STORE_NAME_MAX bytes each. */
static void test_longest_path(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    char path[STORE_PATH_MAX] = "";
    size_t len = 0;

    assert_ok(store_begin(s));
    for (unsigned depth = 0; depth < STORE_DEPTH_MAX; depth++) {
        if (depth > 0)
            path[len++] = '/';
        memset(path + len, 'a' + (int)depth % 26, STORE_NAME_MAX);
        len += STORE_NAME_MAX;
        path[len] = '\0';
        assert_ok(store_mkdir(s, path));
    }
    assert_ok(store_commit(s));
    assert_int_equal(len, STORE_DEPTH_MAX * (STORE_NAME_MAX + 1) - 1);
    assert_path(s, ROOT, resolve(s, path).node, path);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_nothing_is_held_before),
        store_test(test_rotated),
        store_test(test_rotated_twice_and_back),
        store_test(test_policies_are_not_held),
        store_test(test_new),
        store_test(test_moved),
        store_test(test_exchanged),
        store_test(test_removed_and_restored),
        store_test(test_dropped_while_shown),
        store_test(test_restart),
        store_test(test_next_id),
        store_test(test_path),
        store_test(test_longest_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
