/*
 * The tree as stat(2) sees it: attributes, times, the top, listings in parts, ACLs byte for byte.
 * clock_gettime() is replaced, so that the store can be changed at any time there ever was.
 */
#include "changes.h"
#include "helpers.h"
#include "tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
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

static struct tree tree_of(struct store *s, const char *subdir)
{
    struct tree t = {.store = s};
    assert_int_equal(tree_set_top(&t, subdir), 0);
    return t;
}

static struct stat stat_of(struct tree *t, uint64_t ino)
{
    struct stat st;
    assert_int_equal(tree_stat(t, ino, &st), 0);
    assert_int_equal(st.st_ino, ino);
    return st;
}

static struct stat lookup(struct tree *t, uint64_t directory, const char *name)
{
    struct stat st;
    assert_int_equal(tree_lookup(t, directory, name, &st), 0);
    struct stat same = stat_of(t, st.st_ino);
    assert_memory_equal(&st, &same, sizeof st);
    return st;
}

static void put_bytes(struct store *s, const char *path, size_t len)
{
    SECBUF_AUTO struct secbuf value = secret_filled(len, (unsigned)len + 1);
    uint32_t number;
    assert_ok(store_begin(s));
    assert_ok(store_put(s, path, &value, false, &number));
    assert_ok(store_commit(s));
}

static void set_policy(struct store *s, const char *path, const struct policy *policy)
{
    assert_ok(store_begin(s));
    assert_ok(store_set_policy(s, path, policy));
    assert_ok(store_commit(s));
}

static void move_path(struct store *s, const char *from, const char *to)
{
    assert_ok(store_begin(s));
    assert_ok(store_move(s, from, to));
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

/* ---- What the notifier does ------------------------------------------------------------------ */

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

/* ---- Listings -------------------------------------------------------------------------------- */

#define ENTRIES_MAX 32

struct entry {
    char name[16];
    uint64_t ino;
    mode_t mode;
    uint64_t cookie;
};

/* As a READDIR request: what has no room any more is asked for again. */
struct page {
    size_t room;
    size_t count;
    struct entry entries[ENTRIES_MAX];
};

static bool add(void *arg, const char *name, const struct stat *st, uint64_t cookie)
{
    struct page *page = arg;
    if (page->count == page->room)
        return false;
    struct entry *e = &page->entries[page->count++];
    assert_true(strlen(name) < sizeof e->name);
    strcpy(e->name, name);
    e->ino = st->st_ino;
    e->mode = st->st_mode;
    e->cookie = cookie;
    return true;
}

static struct page list(struct tree *t, uint64_t directory, uint64_t cookie, size_t room)
{
    struct page page = {.room = room};
    assert_int_equal(tree_list(t, directory, cookie, add, &page), 0);
    return page;
}

static void assert_names(const struct page *page, const char *expected)
{
    char names[ENTRIES_MAX * 16] = "";
    for (size_t i = 0; i < page->count; i++)
        strcat(strcat(names, i ? " " : ""), page->entries[i].name);
    assert_string_equal(names, expected);
}

static void assert_same_entry(const struct entry *a, const struct entry *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->ino, b->ino);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->cookie, b->cookie);
}

/* From every position, in pages of every size, the rest is the rest of the whole. */
static void check_every_resume(struct tree *t, uint64_t directory)
{
    struct page whole = list(t, directory, 0, ENTRIES_MAX);

    for (size_t from = 0; from <= whole.count; from++) {
        uint64_t cookie = from ? whole.entries[from - 1].cookie : 0;
        assert_true(from == 0 || (cookie > 0 && cookie <= INT64_MAX)); /* fits an off_t */
        for (size_t other = 0; other + 1 < from; other++)
            assert_int_not_equal(whole.entries[other].cookie, cookie);
        for (size_t room = 0; room <= whole.count; room++) {
            struct page page = list(t, directory, cookie, room);
            size_t left = whole.count - from;
            assert_int_equal(page.count, room < left ? room : left);
            for (size_t i = 0; i < page.count; i++)
                assert_same_entry(&page.entries[i], &whole.entries[from + i]);
        }
    }
}

static void make_listed(struct store *s)
{
    make_directory(s, "a");
    put_text(s, "a/s1", "1");
    make_directory(s, "a/d1");
    put_text(s, "a/s2", "2");
    put_text(s, "a/s3", "3");
    make_directory(s, "a/d2");
    make_directory(s, "empty");
    make_directory(s, "a/d1/e");
    put_text(s, "top", "value");
    put_text(s, "a/s1", "rotated"); /* its inode's number is beyond those of all entries */
}

static void test_list(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_listed(s);
    struct tree t = tree_of(s, NULL);
    uint64_t a = resolve(s, "a").node;
    struct page page = list(&t, a, 0, ENTRIES_MAX);

    assert_names(&page, ". .. s1 d1 s2 s3 d2");
    assert_int_equal(page.entries[0].ino, a);
    assert_int_equal(page.entries[0].mode & S_IFMT, S_IFDIR);
    assert_int_equal(page.entries[1].ino, STORE_ROOT_ID);
    assert_int_equal(page.entries[1].mode & S_IFMT, S_IFDIR);
    for (size_t i = 2; i < page.count; i++) {
        struct stat st = lookup(&t, a, page.entries[i].name);
        assert_int_equal(page.entries[i].ino, st.st_ino);
        assert_int_equal(page.entries[i].mode, st.st_mode);
    }
    check_every_resume(&t, a);

    page = list(&t, STORE_ROOT_ID, 0, ENTRIES_MAX);
    assert_names(&page, ". .. a empty top");
    assert_int_equal(page.entries[0].ino, STORE_ROOT_ID);
    assert_int_equal(page.entries[1].ino, TREE_SUPERBLOCK_ROOT);
    check_every_resume(&t, STORE_ROOT_ID);

    page = list(&t, resolve(s, "empty").node, 0, ENTRIES_MAX);
    assert_names(&page, ". ..");
    check_every_resume(&t, resolve(s, "empty").node);

    page = list(&t, TREE_SUPERBLOCK_ROOT, 0, ENTRIES_MAX);
    assert_names(&page, ". .. tree stage inode");
    assert_int_equal(page.entries[0].ino, TREE_SUPERBLOCK_ROOT);
    assert_int_equal(page.entries[1].ino, TREE_SUPERBLOCK_ROOT);
    assert_int_equal(page.entries[2].ino, STORE_ROOT_ID);
    assert_int_equal(page.entries[2].mode, S_IFDIR | 0755);
    check_every_resume(&t, TREE_SUPERBLOCK_ROOT);
    store_close(s);
}

static void test_list_below_a_top(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_listed(s);
    struct tree t = tree_of(s, "a");
    uint64_t a = resolve(s, "a").node;
    uint64_t d1 = resolve(s, "a/d1").node;
    struct page page = list(&t, TREE_SUPERBLOCK_ROOT, 0, ENTRIES_MAX);

    assert_names(&page, ". .. tree stage inode");
    assert_int_equal(page.entries[2].ino, a);
    page = list(&t, a, 0, ENTRIES_MAX);
    assert_names(&page, ". .. s1 d1 s2 s3 d2");
    assert_int_equal(page.entries[1].ino, TREE_SUPERBLOCK_ROOT);
    check_every_resume(&t, a);
    page = list(&t, d1, 0, ENTRIES_MAX);
    assert_names(&page, ". .. e");
    assert_int_equal(page.entries[1].ino, a);
    check_every_resume(&t, d1);
    store_close(s);
}

static void test_list_a_top_that_is_the_root(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_listed(s);
    struct tree t = tree_of(s, "a");
    t.top_is_root = true;
    uint64_t a = resolve(s, "a").node;
    struct page page = list(&t, TREE_SUPERBLOCK_ROOT, 0, ENTRIES_MAX);

    assert_names(&page, ". .. s1 d1 s2 s3 d2");
    assert_int_equal(page.entries[0].ino, a);
    assert_int_equal(page.entries[1].ino, a);
    check_every_resume(&t, TREE_SUPERBLOCK_ROOT);
    page = list(&t, resolve(s, "a/d1").node, 0, ENTRIES_MAX);
    assert_names(&page, ". .. e");
    assert_int_equal(page.entries[1].ino, a);
    store_close(s);
}

static void test_list_refusals(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_listed(s);
    struct tree t = tree_of(s, NULL);
    struct page page = {.room = ENTRIES_MAX};
    uint64_t empty = resolve(s, "empty").node;

    assert_int_equal(tree_list(&t, 9999, 0, add, &page), ESTALE);
    assert_int_equal(page.count, 0);
    assert_int_equal(tree_list(&t, resolve(s, "top").node, 0, add, &page), ENOTDIR);
    remove_path(s, "empty");
    assert_int_equal(tree_list(&t, empty, 0, add, &page), ENOENT);
    assert_ok(store_begin(s));
    assert_ok(store_purge(s, "empty"));
    assert_ok(store_commit(s));
    assert_int_equal(tree_list(&t, empty, 0, add, &page), ESTALE);
    t.top = 9999;
    assert_int_equal(tree_list(&t, TREE_SUPERBLOCK_ROOT, 0, add, &page), ESTALE);
    store_close(s);
}

/* What happens between two READDIRs: nothing that stays is told twice or left out. */
static void test_list_while_it_changes(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_listed(s);
    struct tree t = tree_of(s, NULL);
    uint64_t a = resolve(s, "a").node;
    struct page first = list(&t, a, 0, 5);
    uint64_t at = first.entries[4].cookie;
    struct page rest;

    assert_names(&first, ". .. s1 d1 s2");
    put_text(s, "a/s2", "rotated"); /* the entry we stand at has another inode now */
    put_text(s, "a/s3", "rotated");
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_names(&rest, "s3 d2");
    assert_int_equal(rest.entries[0].ino, resolve(s, "a/s3").version);
    put_text(s, "a/s4", "new");
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_names(&rest, "s3 d2 s4");
    remove_path(s, "a/s1"); /* before us */
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_names(&rest, "s3 d2 s4");
    remove_path(s, "a/s2"); /* where we stand */
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_names(&rest, "s3 d2 s4");
    move_path(s, "a/s3", "s3"); /* after us */
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_names(&rest, "d2 s4");
    put_text(s, "a/s2", "its successor");
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_names(&rest, "d2 s4 s2");
    move_path(s, "a/d2", "d2");
    move_path(s, "a/s4", "s4");
    move_path(s, "a/s2", "s2");
    rest = list(&t, a, at, ENTRIES_MAX);
    assert_int_equal(rest.count, 0);
    check_every_resume(&t, a);
    store_close(s);
}

/* ---- ACLs ------------------------------------------------------------------------------------ */

static size_t acl_of(struct tree *t, uint64_t ino, unsigned char acl[TREE_ACL_MAX])
{
    size_t len = 4711;
    assert_int_equal(tree_acl(t, ino, acl, &len), 0);
    return len;
}

/* The kernel takes it for a file of its own, and gives it back the same. */
static void check_by_kernel(const unsigned char *acl, size_t len, mode_t mode)
{
    unsigned char back[TREE_ACL_MAX];
    struct stat st;
    int fd = memfd_create("acl", MFD_CLOEXEC);
    assert_true(fd >= 0);
    int set = fsetxattr(fd, "system.posix_acl_access", acl, len, 0);
    ssize_t got = fgetxattr(fd, "system.posix_acl_access", back, sizeof back);
    int seen = fstat(fd, &st);
    close(fd);
    assert_int_equal(set, 0);
    assert_int_equal(got, len);
    assert_memory_equal(back, acl, len);
    assert_int_equal(seen, 0);
    assert_int_equal(st.st_mode & 0777, mode);
}

static void test_acl(void **state)
{
    static const unsigned char expected[] = {
        2,    0, 0, 0,                         /* version */
        1,    0, 7, 0, 0xff, 0xff, 0xff, 0xff, /* user::rwx */
        2,    0, 4, 0, 5,    0,    0,    0,    /* user:5:r-- */
        2,    0, 2, 0, 0xe8, 0x03, 0,    0,    /* user:1000:-w- */
        2,    0, 0, 0, 0xfe, 0xff, 0xff, 0xff, /* user:4294967294:--- */
        4,    0, 5, 0, 0xff, 0xff, 0xff, 0xff, /* group::r-x */
        8,    0, 1, 0, 0x04, 0x03, 0x02, 0x01, /* group:16909060:--x */
        0x10, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* mask::rw- */
        0x20, 0, 3, 0, 0xff, 0xff, 0xff, 0xff, /* other::-wx */
    };
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct policy p = policy_make(10, 20, 0753);
    struct tree t = tree_of(s, NULL);
    unsigned char acl[TREE_ACL_MAX];

    make_directory(s, "a");
    put_text(s, "a/secret", "one");
    uint64_t one = resolve(s, "a/secret").version;
    put_text(s, "a/secret", "two");
    assert_ok(policy_set_entry(&p, POLICY_GROUP, 0x01020304, 1));
    assert_ok(policy_set_entry(&p, POLICY_USER, 1000, 2));
    assert_ok(policy_set_entry(&p, POLICY_USER, UINT32_MAX - 1, 0));
    assert_ok(policy_set_entry(&p, POLICY_USER, 5, 4));
    policy_set_mask(&p, 6);
    set_policy(s, "a/secret", &p);
    set_policy(s, "a", &p);
    struct store_attr secret = resolve(s, "a/secret");
    const uint64_t inodes[] = {secret.version, one, secret.node, secret.parent};
    for (size_t i = 0; i < sizeof inodes / sizeof inodes[0]; i++) {
        assert_int_equal(acl_of(&t, inodes[i], acl), sizeof expected);
        assert_memory_equal(acl, expected, sizeof expected);
    }
    assert_int_equal(stat_of(&t, secret.version).st_mode, S_IFREG | 0763); /* shows the mask */
    remove_path(s, "a/secret");
    assert_int_equal(acl_of(&t, secret.version, acl), sizeof expected);
    assert_memory_equal(acl, expected, sizeof expected);
    check_by_kernel(acl, sizeof expected, 0763);
    store_close(s);
}

static void test_acl_of_a_mask_alone(void **state)
{
    static const unsigned char expected[] = {
        2,    0, 0, 0,                         /* version */
        1,    0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* user::rw- */
        4,    0, 4, 0, 0xff, 0xff, 0xff, 0xff, /* group::r-- */
        0x10, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, /* mask::--x */
        0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* other::--- */
    };
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct policy p = policy_make(0, 0, 0640);
    struct tree t = tree_of(s, NULL);
    unsigned char acl[TREE_ACL_MAX];

    put_text(s, "secret", "value");
    policy_set_mask(&p, 1);
    set_policy(s, "secret", &p);
    assert_int_equal(acl_of(&t, resolve(s, "secret").version, acl), sizeof expected);
    assert_memory_equal(acl, expected, sizeof expected);
    check_by_kernel(acl, sizeof expected, 0610);
    store_close(s);
}

static void test_acl_of_the_largest(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct policy p = policy_make(0, 0, 0640);
    struct tree t = tree_of(s, NULL);
    unsigned char acl[TREE_ACL_MAX];

    put_text(s, "secret", "value");
    for (uint32_t i = 0; i < POLICY_ACL_MAX; i++)
        assert_ok(policy_set_entry(&p, i % 2 ? POLICY_USER : POLICY_GROUP, 100 + i, i % 8));
    policy_fit_mask(&p);
    set_policy(s, "secret", &p);
    assert_int_equal(acl_of(&t, resolve(s, "secret").version, acl), TREE_ACL_MAX);
    assert_int_equal(TREE_ACL_MAX, 548);
    check_by_kernel(acl, TREE_ACL_MAX, 0670);
    store_close(s);
}

static void test_acl_of_none(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct tree t = tree_of(s, NULL);
    unsigned char acl[TREE_ACL_MAX];
    size_t len = 4711;

    put_text(s, "secret", "value");
    set_mode(s, "secret", 0640);
    assert_int_equal(acl_of(&t, resolve(s, "secret").version, acl), 0);
    assert_int_equal(acl_of(&t, STORE_ROOT_ID, acl), 0);
    assert_int_equal(acl_of(&t, TREE_SUPERBLOCK_ROOT, acl), 0);
    assert_int_equal(tree_acl(&t, 9999, acl, &len), ESTALE);
    assert_int_equal(len, 0);
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
        tree_test(test_stage),
        tree_test(test_inode),
        tree_test(test_hostile_stage_names),
        tree_test(test_show),
        tree_test(test_unlink),
        tree_test(test_leave),
        tree_test(test_move),
        tree_test(test_list),
        tree_test(test_list_below_a_top),
        tree_test(test_list_a_top_that_is_the_root),
        tree_test(test_list_refusals),
        tree_test(test_list_while_it_changes),
        tree_test(test_acl),
        tree_test(test_acl_of_a_mask_alone),
        tree_test(test_acl_of_the_largest),
        tree_test(test_acl_of_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
