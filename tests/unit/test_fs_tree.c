/*
 * The tree as stat(2) sees it: attributes, times, the top. clock_gettime() is replaced, so that the
 * store can be changed at any time there ever was.
 */
#include "changes.h"
#include "tree_helpers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000

int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

static bool clock_set;
static struct timespec clock_now;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    if (!clock_set || clock != CLOCK_REALTIME)
        return __real_clock_gettime(clock, ret_time);
    *ret_time = clock_now;
    return 0;
}

static void set_clock(int64_t seconds, long nanoseconds)
{
    clock_set = true;
    clock_now = (struct timespec){.tv_sec = seconds, .tv_nsec = nanoseconds};
}

static int setup(void **state)
{
    clock_set = false;
    return fixture_setup(state);
}

#define tree_test(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)

static void put_bytes(struct store *s, const char *path, size_t len)
{
    SECBUF_AUTO struct secbuf value = secret_filled(len, (unsigned)len + 1);
    uint32_t number;
    assert_ok(store_begin(s));
    assert_ok(store_put(s, path, &value, false, &number));
    assert_ok(store_commit(s));
}

/* ---- Attributes ------------------------------------------------------------------------------ */

static void test_errno(void **state)
{
    (void)state;
    static const int expected[] = {
        [-STORE_OK] = 0,
        [-STORE_ERR_NOT_FOUND] = ENOENT,
        [-STORE_ERR_NO_VERSION] = ESTALE,
        [-STORE_ERR_EXISTS] = EEXIST,
        [-STORE_ERR_NOT_DIRECTORY] = ENOTDIR,
        [-STORE_ERR_IS_DIRECTORY] = EISDIR,
        [-STORE_ERR_NOT_EMPTY] = ENOTEMPTY,
        [-STORE_ERR_NAME] = ENOENT,
        [-STORE_ERR_LIMIT] = EFBIG,
        [-STORE_ERR_INVALID] = EINVAL,
        [-STORE_ERR_NO_STORE] = EIO,
        [-STORE_ERR_FORMAT] = EIO,
        [-STORE_ERR_KEY] = EIO,
        [-STORE_ERR_INTEGRITY] = EIO,
        [-STORE_ERR_BUSY] = EIO,
        [-STORE_ERR_DENIED] = EIO,
        [-STORE_ERR_NO_SPACE] = EIO,
        [-STORE_ERR_IO] = EIO,
        [-STORE_ERR_NO_MEMORY] = ENOMEM,
        [-STORE_ERR_MEMORY_LOCK] = ENOMEM,
    };
    int codes = sizeof expected / sizeof expected[0];

    for (int i = 0; i < codes; i++) {
        assert_int_equal(tree_errno((enum store_err) - i), expected[i]);
        assert_true(i == 0 || expected[i] > 0);
    }
}

static void test_superblock_root(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_directory(s, "a");
    make_directory(s, "tree");
    struct tree t = tree_of(s, NULL);
    struct stat st = stat_of(&t, TREE_SUPERBLOCK_ROOT);

    assert_int_equal(st.st_mode, S_IFDIR | 0755);
    assert_int_equal(st.st_nlink, 5); /* itself twice, and the ".." of its directories */
    assert_int_equal(st.st_uid + st.st_gid, 0);
    assert_int_equal(lookup(&t, TREE_SUPERBLOCK_ROOT, "tree").st_ino, STORE_ROOT_ID);
    static const char *const others[] = {"a", "", ".", "..", "tre", "tree2", "TREE"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(tree_lookup(&t, TREE_SUPERBLOCK_ROOT, others[i], &st), ENOENT);
    store_close(s);
}

static void test_secret(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    static const size_t sizes[] = {0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, STORE_VALUE_MAX};
    static const int blocks[] = {0, 1, 1, 1, 2, 8, 8, 9, 128, 2048};
    const struct policy policy = policy_make(1000, 1001, 0640);
    struct tree t = tree_of(s, NULL);

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%zu", i);
        put_bytes(s, name, sizes[i]);
        assert_int_equal(lookup(&t, STORE_ROOT_ID, name).st_mode, S_IFREG | 0400);
        set_policy(s, name, &policy);
        struct stat st = lookup(&t, STORE_ROOT_ID, name);
        struct store_attr attr = resolve(s, name);
        assert_int_equal(st.st_ino, attr.version);
        assert_int_equal(st.st_mode, S_IFREG | 0640);
        assert_int_equal(st.st_nlink, 1);
        assert_int_equal(st.st_uid, 1000);
        assert_int_equal(st.st_gid, 1001);
        assert_int_equal(st.st_size, sizes[i]);
        assert_int_equal(st.st_blocks, blocks[i]);
        assert_int_equal(st.st_blksize, 4096);
        assert_int_equal(st.st_dev + st.st_rdev, 0);
        assert_int_equal(tree_open(&t, st.st_ino), 0);
    }
    store_close(s);
}

static void test_directory(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    const struct policy policy = policy_make(7, 8, 0710);
    struct tree t = tree_of(s, NULL);

    make_directory(s, "a");
    set_policy(s, "a", &policy);
    uint64_t a = resolve(s, "a").node;
    struct stat st = lookup(&t, STORE_ROOT_ID, "a");
    assert_int_equal(st.st_ino, a);
    assert_int_equal(st.st_mode, S_IFDIR | 0710);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(st.st_gid, 8);
    assert_int_equal(st.st_size + st.st_blocks, 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(stat_of(&t, STORE_ROOT_ID).st_nlink, 3);
    put_text(s, "a/secret", "value"); /* no link to the directory */
    assert_int_equal(stat_of(&t, a).st_nlink, 2);
    make_directory(s, "a/b");
    make_directory(s, "a/c");
    make_directory(s, "a/c/d");
    assert_int_equal(stat_of(&t, a).st_nlink, 4);
    assert_int_equal(stat_of(&t, STORE_ROOT_ID).st_nlink, 3);
    move_path(s, "a/c", "c");
    assert_int_equal(stat_of(&t, a).st_nlink, 3);
    assert_int_equal(stat_of(&t, STORE_ROOT_ID).st_nlink, 4);
    remove_path(s, "a/b");
    assert_int_equal(stat_of(&t, a).st_nlink, 2);
    assert_int_equal(tree_open(&t, a), EISDIR);
    store_close(s);
}

/* An open file of an older version keeps that version's number and size, but has no name. */
static void test_superseded_and_removed(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    struct stat st;

    put_text(s, "secret", "one");
    uint64_t one = lookup(&t, STORE_ROOT_ID, "secret").st_ino;
    set_clock(2000000000, 5);
    put_text(s, "secret", "number two");
    uint64_t two = lookup(&t, STORE_ROOT_ID, "secret").st_ino;
    uint64_t node = resolve(s, "secret").node;
    assert_int_not_equal(one, two);
    assert_int_equal(stat_of(&t, one).st_nlink, 0);
    assert_int_equal(stat_of(&t, one).st_size, 3);
    assert_int_not_equal(stat_of(&t, one).st_mtim.tv_sec, 2000000000);
    assert_int_equal(stat_of(&t, two).st_nlink, 1);
    assert_int_equal(stat_of(&t, two).st_size, 10);
    assert_int_equal(stat_of(&t, two).st_mtim.tv_sec, 2000000000);
    assert_int_equal(tree_open(&t, one), 0);
    assert_int_equal(tree_stat(&t, node, &st), 0); /* a secret's own id: its current version */
    assert_int_equal(st.st_ino, two);

    assert_ok(store_begin(s));
    assert_ok(store_set_current(s, "secret", 1));
    assert_ok(store_commit(s));
    assert_int_equal(lookup(&t, STORE_ROOT_ID, "secret").st_ino, one);
    assert_int_equal(stat_of(&t, one).st_nlink, 1);
    assert_int_equal(stat_of(&t, two).st_nlink, 0);

    remove_path(s, "secret");
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "secret", &st), ENOENT);
    assert_int_equal(stat_of(&t, one).st_nlink, 0);
    assert_int_equal(stat_of(&t, one).st_size, 3);
    assert_int_equal(tree_open(&t, one), ENOENT);
    assert_int_equal(tree_open(&t, two), ENOENT);
    assert_ok(store_begin(s));
    assert_ok(store_purge(s, "secret"));
    assert_ok(store_commit(s));
    assert_int_equal(tree_stat(&t, one, &st), ESTALE);
    assert_int_equal(tree_open(&t, two), ESTALE);

    make_directory(s, "a");
    uint64_t a = resolve(s, "a").node;
    remove_path(s, "a");
    assert_int_equal(stat_of(&t, a).st_nlink, 0);
    assert_int_equal(tree_open(&t, a), EISDIR);
    store_close(s);
}

/* Not opened any more, but looked at as before. */
static void test_revoked_and_expired(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);

    set_clock(1000, 0);
    put_text(s, "secret", "one");
    uint64_t one = lookup(&t, STORE_ROOT_ID, "secret").st_ino;
    put_text(s, "secret", "two");
    uint64_t two = lookup(&t, STORE_ROOT_ID, "secret").st_ino;
    assert_ok(store_begin(s));
    assert_ok(store_revoke(s, "secret", 1));
    assert_ok(store_set_expiry(s, "secret", (int64_t)2000 * SECOND_NS));
    assert_ok(store_commit(s));
    assert_int_equal(tree_open(&t, one), EKEYREVOKED);
    assert_int_equal(tree_open(&t, two), 0);
    set_clock(1999, 999999999);
    assert_int_equal(tree_open(&t, two), 0);
    set_clock(2000, 0);
    assert_int_equal(tree_open(&t, two), EKEYEXPIRED);
    assert_int_equal(tree_open(&t, one), EKEYREVOKED);
    assert_int_equal(stat_of(&t, two).st_size, 3);
    assert_int_equal(lookup(&t, STORE_ROOT_ID, "secret").st_ino, two);
    remove_path(s, "secret");
    assert_int_equal(tree_open(&t, two), ENOENT);
    store_close(s);
}

static void test_refusals(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    struct stat st = {.st_ino = 4711};
    char name[STORE_NAME_MAX + 2];

    put_text(s, "secret", "value");
    uint64_t secret = resolve(s, "secret").node;
    memset(name, 'x', sizeof name);
    name[STORE_NAME_MAX + 1] = '\0';
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, name, &st), ENAMETOOLONG);
    name[STORE_NAME_MAX] = '\0';
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, name, &st), ENOENT);
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "none", &st), ENOENT);
    assert_int_equal(tree_lookup(&t, STORE_ROOT_ID, "@x", &st), ENOENT); /* can't be a name */
    assert_int_equal(tree_lookup(&t, secret, "x", &st), ENOTDIR);
    assert_int_equal(tree_lookup(&t, 9999, "x", &st), ENOENT);
    assert_int_equal(tree_stat(&t, 9999, &st), ESTALE);
    assert_int_equal(tree_stat(&t, 0, &st), ESTALE);
    assert_int_equal(tree_open(&t, 9999), ESTALE);
    assert_int_equal(st.st_ino, 4711);
    store_close(s);
}

static void assert_time(struct timespec t, int64_t seconds, long nanoseconds)
{
    assert_int_equal(t.tv_sec, seconds);
    assert_int_equal(t.tv_nsec, nanoseconds);
}

static void test_times(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    /* The first below the range of 32 bits, the last above it; the third is half a second before
     * 1970. */
    static const struct timespec times[] = {
        {-3000000000, 1}, {-2, 0},        {-1, 500000000}, {-1, 999999999},
        {-1, 1},          {0, 1},         {1, 0},          {1700000000, 123456789},
        {1700000000, 0},  {1, 999999999}, {4294967296, 7},
    };

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%zu", i);
        set_clock(times[i].tv_sec, times[i].tv_nsec);
        put_text(s, name, "value");
        struct stat st = lookup(&t, STORE_ROOT_ID, name);
        assert_time(st.st_mtim, times[i].tv_sec, times[i].tv_nsec);
        assert_time(st.st_atim, times[i].tv_sec, times[i].tv_nsec);
        assert_time(st.st_ctim, times[i].tv_sec, times[i].tv_nsec);
        set_clock(times[i].tv_sec + 10, times[i].tv_nsec);
        set_mode(s, name, 0440); /* tells on ctime alone */
        st = lookup(&t, STORE_ROOT_ID, name);
        assert_time(st.st_mtim, times[i].tv_sec, times[i].tv_nsec);
        assert_time(st.st_ctim, times[i].tv_sec + 10, times[i].tv_nsec);
    }
    store_close(s);
}

static void test_times_of_directories(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);

    set_clock(5000000000, 1);
    make_directory(s, "a");
    assert_time(lookup(&t, STORE_ROOT_ID, "a").st_mtim, 5000000000, 1);
    assert_time(stat_of(&t, STORE_ROOT_ID).st_mtim, 5000000000, 1);
    set_clock(5000000001, 2);
    put_text(s, "a/secret", "one");
    set_clock(5000000002, 3);
    set_mode(s, "a", 0700);
    struct stat st = lookup(&t, STORE_ROOT_ID, "a");
    assert_time(st.st_mtim, 5000000001, 2);
    assert_time(st.st_atim, 5000000001, 2);
    assert_time(st.st_ctim, 5000000002, 3);
    set_clock(5000000003, 4);
    put_text(s, "a/secret", "two"); /* another inode takes the name */
    st = lookup(&t, STORE_ROOT_ID, "a");
    assert_time(st.st_mtim, 5000000003, 4);
    assert_time(st.st_ctim, 5000000003, 4);
    assert_time(stat_of(&t, STORE_ROOT_ID).st_mtim, 5000000000, 1);
    store_close(s);
}

static void test_statfs(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    struct statvfs st;

    tree_statfs(&t, &st);
    assert_int_equal(st.f_files, 1);
    assert_int_equal(st.f_blocks, 0);
    make_directory(s, "a");
    put_bytes(s, "a/one", 4096);
    put_bytes(s, "a/two", 4096);
    tree_statfs(&t, &st);
    assert_int_equal(st.f_blocks, 2);
    put_bytes(s, "a/three", 1);
    tree_statfs(&t, &st);
    assert_int_equal(st.f_bsize, 4096);
    assert_int_equal(st.f_frsize, 4096);
    assert_int_equal(st.f_blocks, 3);
    assert_int_equal(st.f_files, 5);
    assert_int_equal(st.f_bfree + st.f_bavail + st.f_ffree + st.f_favail, 0);
    assert_int_equal(st.f_namemax, 255);
    store_close(s);
}

/* ---- The top --------------------------------------------------------------------------------- */

/* As in an ordinary mount: the kernel's 1 is the top, with the number that it has in any mount. */
static void test_top_that_is_the_root(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_directory(s, "a");
    make_directory(s, "a/b");
    put_text(s, "a/secret", "value");
    uint64_t a = resolve(s, "a").node;
    uint64_t b = resolve(s, "a/b").node;
    struct tree t = tree_of(s, "a");
    t.top_is_root = true;
    struct stat st;
    unsigned char acl[TREE_ACL_MAX];
    size_t len = 4711;

    assert_int_equal(tree_stat(&t, TREE_SUPERBLOCK_ROOT, &st), 0);
    struct stat same = stat_of(&t, a);
    assert_memory_equal(&st, &same, sizeof st);
    assert_int_equal(lookup(&t, TREE_SUPERBLOCK_ROOT, "b").st_ino, b);
    assert_int_equal(lookup(&t, TREE_SUPERBLOCK_ROOT, "secret").st_size, 5);
    assert_int_equal(tree_lookup(&t, TREE_SUPERBLOCK_ROOT, "tree", &st), ENOENT);
    assert_int_equal(tree_open(&t, TREE_SUPERBLOCK_ROOT), EISDIR);
    struct policy p = policy_make(0, 0, 0750);
    assert_ok(policy_set_entry(&p, POLICY_USER, 1000, 5));
    set_policy(s, "a", &p);
    assert_int_equal(tree_acl(&t, TREE_SUPERBLOCK_ROOT, acl, &len), 0);
    assert_int_equal(len, 4 + 8 * 5);

    assert_int_equal(tree_kernel_ino(&t, a), TREE_SUPERBLOCK_ROOT);
    assert_int_equal(tree_kernel_ino(&t, b), b);
    t.top_is_root = false;
    assert_int_equal(tree_kernel_ino(&t, a), a);
    store_close(s);
}

static void test_top(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_directory(s, "a");
    make_directory(s, "a/b");
    put_text(s, "a/secret", "value");
    uint64_t b = resolve(s, "a/b").node;
    struct tree t = tree_of(s, "a/b");

    assert_int_equal(t.top, b);
    assert_int_equal(lookup(&t, TREE_SUPERBLOCK_ROOT, "tree").st_ino, b);
    assert_int_equal(tree_set_top(&t, "none"), ENOENT);
    assert_int_equal(tree_set_top(&t, "none/b"), ENOENT);
    assert_int_equal(tree_set_top(&t, "a/../a"), ENOENT);
    assert_int_equal(tree_set_top(&t, "a/secret"), ENOTDIR);
    assert_int_equal(tree_set_top(&t, "a/secret/b"), ENOTDIR);
    assert_int_equal(t.top, b);
    assert_int_equal(tree_of(s, "/a/").top, resolve(s, "a").node);
    assert_int_equal(tree_of(s, "").top, STORE_ROOT_ID);
    assert_int_equal(tree_of(s, "/").top, STORE_ROOT_ID);
    assert_int_equal(tree_of(s, NULL).top, STORE_ROOT_ID);

    move_path(s, "a/b", "c"); /* it is the directory, not the path */
    assert_int_equal(lookup(&t, TREE_SUPERBLOCK_ROOT, "tree").st_ino, b);
    remove_path(s, "c");
    assert_int_equal(lookup(&t, TREE_SUPERBLOCK_ROOT, "tree").st_nlink, 0);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_errno),
        tree_test(test_superblock_root),
        tree_test(test_secret),
        tree_test(test_directory),
        tree_test(test_superseded_and_removed),
        tree_test(test_revoked_and_expired),
        tree_test(test_refusals),
        tree_test(test_times),
        tree_test(test_times_of_directories),
        tree_test(test_statfs),
        tree_test(test_top),
        tree_test(test_top_that_is_the_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
