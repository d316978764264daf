/*
 * Listings of the tree, in parts and while it changes; its ACLs, byte for byte as the kernel has
 * them.
 */
#include "changes.h"
#include "tree_helpers.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

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
        store_test(test_list),
        store_test(test_list_below_a_top),
        store_test(test_list_a_top_that_is_the_root),
        store_test(test_list_refusals),
        store_test(test_list_while_it_changes),
        store_test(test_acl),
        store_test(test_acl_of_a_mask_alone),
        store_test(test_acl_of_the_largest),
        store_test(test_acl_of_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
