/*
 * The tree while names change: what the notifier finds staged, what is shown, unlinked and moved.
 */
#include "changes.h"
#include "tree_helpers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A follower of the store that holds names from here on, and the tree of it. */
static struct tree held_tree_of(const struct fixture *f)
{
    struct store *follower = open_store(f, STORE_READ_ONLY);
    store_hold_names(follower, store_next_id(follower));
    return tree_of(follower, NULL);
}

static void stage_name(uint64_t id, const char *behind, char ret_name[64])
{
    snprintf(ret_name, 64, "%llu%s", (unsigned long long)id, behind);
}

static void test_stage(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    struct stat st = {.st_ino = 4711};
    char name[64];

    put_text(s, "a", "one");
    uint64_t one = resolve(s, "a").version;
    put_text(s, "a", "two");
    make_directory(s, "dir");
    uint64_t two = resolve(s, "a").version;
    uint64_t dir = resolve(s, "dir").node;

    stage_name(two, "", name);
    assert_int_equal(tree_lookup(&t, TREE_STAGE, name, &st), 0);
    assert_int_equal(st.st_ino, two);
    assert_int_equal(st.st_nlink, 1);
    stage_name(one, "", name); /* superseded, but may be about to come back */
    assert_int_equal(tree_lookup(&t, TREE_STAGE, name, &st), 0);
    assert_int_equal(st.st_ino, one);
    assert_int_equal(st.st_nlink, 1);
    stage_name(dir, "", name);
    assert_int_equal(tree_lookup(&t, TREE_STAGE, name, &st), 0);
    assert_int_equal(st.st_ino, dir);
    assert_int_equal(st.st_nlink, 2);

    static const char *const behind[] = {" ",  "x", ".", "/", "\n", "0000000000000000000",
                                         "e1", "L"};
    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++) {
        stage_name(two, behind[i], name);
        assert_int_not_equal(tree_lookup(&t, TREE_STAGE, name, &st), 0);
    }
    store_close(s);
}

static void test_inode(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "a", "one");
    uint64_t one = resolve(s, "a").version;
    put_text(s, "a", "two");
    uint64_t node = resolve(s, "a").node;
    struct tree t = tree_of(s, NULL);
    struct stat st = lookup(&t, TREE_SUPERBLOCK_ROOT, "inode");
    char name[64];

    assert_int_equal(st.st_ino, TREE_INODE);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    stage_name(one, "", name);
    assert_int_equal(tree_lookup(&t, TREE_INODE, name, &st), 0);
    assert_int_equal(st.st_ino, one);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(stat_of(&t, one).st_nlink, 0);
    stage_name(node, "", name); /* versions only */
    assert_int_equal(tree_lookup(&t, TREE_INODE, name, &st), ENOENT);
    stage_name(STORE_ROOT_ID, "", name);
    assert_int_equal(tree_lookup(&t, TREE_INODE, name, &st), ENOENT);
    stage_name(UINT64_MAX, "", name);
    assert_int_equal(tree_lookup(&t, TREE_INODE, name, &st), ENOENT);
    assert_int_equal(tree_lookup(&t, TREE_INODE, "a", &st), ENOENT);
    store_close(s);
}

static void test_hostile_stage_names(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    struct stat st = {.st_ino = 4711};
    uint64_t shown;
    char two_and_zero[64];
    char before[64];
    static const char *const names[] = {
        "",
        "0",
        "00",
        "-1",
        "+5",
        "-0",
        " 5",
        "\t5",
        "x",
        "a",
        ".",
        "..",
        "tree",
        "0x5",
        "1",
        "2",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999",
        "100000000000000000000000000000000005",
        "-18446744073709551611",
        "\xff",
        "5\xff",
        "\xd9\xa5",
    };

    put_text(s, "a", "value");
    uint64_t version = resolve(s, "a").version;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int error = tree_lookup(&t, TREE_STAGE, names[i], &st);
        assert_true(error == ENOENT || error == ESTALE);
        assert_int_equal(tree_show(&t, names[i], STORE_ROOT_ID, "a", &shown), ENOENT);
    }
    static const char *const fronts[] = {"0", "00", "+", "-", " ", "/", "0x", "\n"};
    for (size_t i = 0; i < sizeof fronts / sizeof fronts[0]; i++) {
        snprintf(before, sizeof before, "%s%llu", fronts[i], (unsigned long long)version);
        assert_int_equal(tree_lookup(&t, TREE_STAGE, before, &st), ENOENT);
        assert_int_equal(tree_show(&t, before, STORE_ROOT_ID, "a", &shown), ENOENT);
    }
    stage_name(version, ".0", two_and_zero);
    assert_int_equal(tree_show(&t, two_and_zero, STORE_ROOT_ID, "a", &shown), ENOENT);
    assert_int_equal(st.st_ino, 4711);
    store_close(s);
}

static void test_show(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "a", "one");
    make_directory(s, "dir");
    struct tree t = held_tree_of(*state);
    uint64_t one = lookup(&t, STORE_ROOT_ID, "a").st_ino;
    uint64_t dir = lookup(&t, STORE_ROOT_ID, "dir").st_ino;
    uint64_t shown = 0;
    char number[64];

    put_text(s, "a", "two");
    assert_ok(store_refresh(t.store, NULL));
    uint64_t two = resolve(s, "a").version;
    assert_int_equal(stat_of(&t, two).st_size, 3);
    assert_int_equal(stat_of(&t, two).st_nlink, 0); /* no name shows it yet */
    assert_int_equal(lookup(&t, STORE_ROOT_ID, "a").st_ino, one);
    stage_name(two, "", number);
    assert_int_equal(tree_show(&t, number, STORE_ROOT_ID, "b", &shown), ENOENT);
    assert_int_equal(tree_show(&t, number, dir, "a", &shown), ENOENT);
    assert_int_equal(tree_show(&t, number, TREE_STAGE, "a", &shown), ENOENT);
    assert_int_equal(tree_show(&t, number, TREE_SUPERBLOCK_ROOT, "a", &shown), ENOENT);
    stage_name(one, "", number);
    assert_int_equal(tree_show(&t, number, STORE_ROOT_ID, "a", &shown), ENOENT);
    assert_int_equal(lookup(&t, STORE_ROOT_ID, "a").st_ino, one);
    stage_name(two, "", number);
    assert_int_equal(tree_show(&t, number, STORE_ROOT_ID, "a", &shown), 0);
    assert_int_equal(shown, two);
    assert_int_equal(lookup(&t, STORE_ROOT_ID, "a").st_ino, two);
    assert_int_equal(tree_show(&t, number, STORE_ROOT_ID, "a", &shown), 0); /* once more */
    assert_int_equal(stat_of(&t, one).st_nlink, 0);
    store_close(s);
    store_close(t.store);
}

static void test_unlink(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "a", "one");
    make_directory(s, "dir");
    struct tree t = held_tree_of(*state);
    uint64_t dir = resolve(s, "dir").node;

    assert_int_equal(tree_unlink(&t, STORE_ROOT_ID, "a"), EROFS);
    assert_int_equal(tree_unlink(&t, STORE_ROOT_ID, "dir"), EROFS);
    put_text(s, "a", "two");
    assert_ok(store_refresh(t.store, NULL)); /* held: the name shows what it did */
    assert_int_equal(tree_unlink(&t, STORE_ROOT_ID, "a"), EROFS);
    assert_int_equal(tree_unlink(&t, dir, "a"), 0);
    remove_path(s, "a");
    assert_ok(store_refresh(t.store, NULL));
    assert_int_equal(tree_unlink(&t, STORE_ROOT_ID, "a"), 0);
    assert_int_equal(tree_unlink(&t, STORE_ROOT_ID, "dir"), EROFS);
    store_close(s);
    store_close(t.store);
}

/* A name that goes is found once more, until it is unlinked. */
static void test_leave(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    struct stat st = {.st_ino = 4711};

    put_text(s, "a", "one");
    put_text(s, "b", "one");
    make_directory(s, "dir");
    uint64_t dir = resolve(s, "dir").node;
    uint64_t one = resolve(s, "a").version;
    tree_leave(&t, STORE_ROOT_ID, "b", one);
    assert_int_not_equal(lookup(&t, STORE_ROOT_ID, "b").st_ino, one); /* it is not gone */
    remove_path(s, "a");
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "a", &st), ENOENT);
    tree_leave(&t, STORE_ROOT_ID, "a", one);
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "aa", &st), ENOENT);
    assert_int_equal(tree_lookup(&t, dir, "a", &st), ENOENT);
    assert_int_equal(tree_unlink(&t, dir, "a"), 0); /* another */
    assert_int_equal(st.st_ino, 4711);
    assert_int_equal(lookup(&t, STORE_ROOT_ID, "a").st_ino, one);
    assert_int_equal(tree_open(&t, one), ENOENT);
    assert_int_equal(tree_unlink(&t, STORE_ROOT_ID, "a"), 0);
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "a", &st), ENOENT);

    tree_leave(&t, STORE_ROOT_ID, "a", one);
    tree_left(&t); /* it was not unlinked */
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "a", &st), ENOENT);
    tree_leave(&t, STORE_ROOT_ID, "a", 9999); /* purged */
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "a", &st), ENOENT);
    store_close(s);
}

/* A directory that is gone from a name is moved once, to where it is now or out of sight. */
static void test_move(void **state)
{
    struct fixture *f = *state;
    struct store *writer = open_store(f, STORE_READ_WRITE);
    uint64_t shown = 4711;
    struct stat st;

    make_directory(writer, "a");
    make_directory(writer, "b");
    make_directory(writer, "a/dir");
    uint64_t a = resolve(writer, "a").node;
    uint64_t b = resolve(writer, "b").node;
    uint64_t dir = resolve(writer, "a/dir").node;
    struct store *follower = open_store(f, STORE_FOLLOW);
    struct tree t = tree_of(follower, NULL);
    store_hold_names(follower, store_next_id(follower));
    assert_ok(store_begin(writer));
    assert_ok(store_move(writer, "a/dir", "b/new"));
    assert_ok(store_commit(writer));
    assert_ok(store_refresh(follower, NULL));

    assert_int_equal(tree_move(&t, a, "dir", b, "new", &shown), EROFS); /* nobody has it leave */
    assert_int_equal(shown, 0);
    assert_int_equal(tree_move(&t, a, "dir", TREE_STAGE, "-1", &shown), EROFS);
    tree_leave(&t, a, "dir", dir);
    assert_int_equal(lookup(&t, a, "dir").st_ino, dir);
    assert_int_equal(tree_lookup(&t, b, "new", &st), ENOENT);
    assert_int_equal(tree_move(&t, b, "dir", b, "new", &shown), EROFS);
    assert_int_equal(tree_move(&t, a, "dir", b, "other", &shown), ENOENT);
    assert_int_equal(tree_move(&t, a, "dir", a, "new", &shown), ENOENT);
    assert_int_equal(shown, 0);
    assert_int_equal(tree_move(&t, a, "dir", b, "new", &shown), 0);
    assert_int_equal(shown, dir);
    assert_int_equal(lookup(&t, b, "new").st_ino, dir);
    assert_int_equal(tree_lookup(&t, a, "dir", &st), ENOENT);
    assert_int_equal(tree_move(&t, a, "dir", b, "new", &shown), EROFS); /* a second time */

    remove_path(writer, "b/new");
    assert_ok(store_refresh(follower, NULL));
    tree_leave(&t, b, "new", dir);
    assert_int_equal(lookup(&t, b, "new").st_nlink, 0);
    assert_int_equal(tree_move(&t, b, "new", TREE_STAGE, "-1", &shown), 0);
    assert_int_equal(shown, 0);
    assert_int_equal(tree_lookup(&t, b, "new", &st), ENOENT);
    assert_int_equal(tree_lookup(&t, TREE_STAGE, "-1", &st), ENOENT);
    store_close(writer);
    store_close(follower);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_stage), store_test(test_inode),  store_test(test_hostile_stage_names),
        store_test(test_show),  store_test(test_unlink), store_test(test_leave),
        store_test(test_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
