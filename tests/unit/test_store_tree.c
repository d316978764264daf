/*
 * The tree: directories, moving, removing, restoring and purging with all their refusals, listings,
 * policies and descriptions.
 */
#include "helpers.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One operation in a transaction of its own. */
#define change(s, call) (begin(s) ? store_fault()->code : finish(s, call))

static enum store_err begin(struct store *s)
{
    enum store_err err = store_begin(s);
    assert_ok(err);
    return err;
}

static enum store_err finish(struct store *s, enum store_err err)
{
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static bool there(struct store *s, const char *path)
{
    struct store_attr attr;
    enum store_err err = store_resolve(s, path, &attr);
    if (err)
        assert_error(err, STORE_ERR_NOT_FOUND);
    return !err;
}

static void test_paths(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    static const char *const same[] = {"a/b/c", "/a/b/c", "//a///b//c", "a/b/c/", "a/b/c//"};
    struct store_attr attr;
    char name[300];

    make_directory(s, "a");
    make_directory(s, "/a/b/");
    put_text(s, "a/b/c", "value");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_int_equal(resolve(s, same[i]).node, resolve(s, "a/b/c").node);
    assert_int_equal(resolve(s, "").node, STORE_ROOT_ID);
    assert_int_equal(resolve(s, "///").node, STORE_ROOT_ID);
    assert_error(store_resolve(s, "a/x", &attr), STORE_ERR_NOT_FOUND);
    assert_error(store_resolve(s, "x/c", &attr), STORE_ERR_NOT_FOUND);
    assert_error(store_resolve(s, "a/b/c/d", &attr), STORE_ERR_NOT_DIRECTORY);
    assert_error(store_resolve(s, "a/./b", &attr), STORE_ERR_NAME);
    assert_error(store_resolve(s, "a/../a", &attr), STORE_ERR_NAME);
    assert_error(store_resolve(s, "@previous", &attr), STORE_ERR_NAME);

    uint64_t a = resolve(s, "a").node;
    assert_ok(store_lookup(s, a, "b", &attr));
    assert_int_equal(attr.parent, a);
    assert_error(store_lookup(s, a, "c", &attr), STORE_ERR_NOT_FOUND);
    assert_error(store_lookup(s, a, "b/c", &attr), STORE_ERR_NAME);
    assert_error(store_lookup(s, a, "", &attr), STORE_ERR_NAME);
    assert_error(store_lookup(s, a, "..", &attr), STORE_ERR_NAME);
    assert_error(store_lookup(s, a, "@x", &attr), STORE_ERR_NOT_FOUND);
    assert_error(store_lookup(s, STORE_ROOT_ID, "@x", &attr), STORE_ERR_NAME);
    assert_error(store_lookup(s, 999, "b", &attr), STORE_ERR_NOT_FOUND);
    assert_error(store_lookup(s, resolve(s, "a/b/c").node, "d", &attr), STORE_ERR_NOT_DIRECTORY);

    memset(name, 'x', sizeof name);
    name[STORE_NAME_MAX + 1] = '\0';
    assert_error(store_lookup(s, a, name, &attr), STORE_ERR_NAME);
    assert_error(change(s, store_mkdir(s, name)), STORE_ERR_NAME);
    name[STORE_NAME_MAX] = '\0';
    assert_ok(change(s, store_mkdir(s, name)));
    assert_true(there(s, name));
    store_close(s);
}

static void test_mkdir(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "secret", "value");
    assert_ok(change(s, store_mkdir(s, "a")));
    struct store_attr attr = resolve(s, "a");
    assert_int_equal(attr.kind, STORE_DIRECTORY);
    assert_int_equal(attr.mode, 0755);
    assert_false(attr.deleted);
    assert_int_equal(attr.uid + attr.gid + attr.subdirs + attr.version + attr.current, 0);
    assert_int_equal(resolve(s, "").subdirs, 1);
    assert_error(change(s, store_mkdir(s, "a")), STORE_ERR_EXISTS);
    assert_error(change(s, store_mkdir(s, "secret")), STORE_ERR_EXISTS);
    assert_error(change(s, store_mkdir(s, "/")), STORE_ERR_EXISTS);
    assert_error(change(s, store_mkdir(s, "secret/b")), STORE_ERR_NOT_DIRECTORY);
    assert_error(change(s, store_mkdir(s, "b/c")), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_mkdir(s, "@a")), STORE_ERR_NAME);
    store_close(s);
}

static void test_move(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_directory(s, "a");
    make_directory(s, "a/b");
    make_directory(s, "c");
    put_text(s, "a/b/secret", "value");
    uint64_t b = resolve(s, "a/b").node;
    uint64_t secret = resolve(s, "a/b/secret").node;

    assert_ok(change(s, store_move(s, "a/b", "c/d")));
    assert_int_equal(resolve(s, "c/d").node, b);
    assert_int_equal(resolve(s, "c/d/secret").node, secret);
    assert_text(s, "c/d/secret", "value");
    assert_false(there(s, "a/b"));
    assert_int_equal(resolve(s, "a").subdirs, 0);
    assert_int_equal(resolve(s, "c").subdirs, 1);
    assert_ok(change(s, store_move(s, "c/d/secret", "c/d/renamed")));
    assert_false(there(s, "c/d/secret"));
    assert_text(s, "c/d/renamed", "value");

    assert_error(change(s, store_move(s, "c", "c/d/e")), STORE_ERR_INVALID);
    assert_error(change(s, store_move(s, "c", "c/e")), STORE_ERR_INVALID);
    assert_error(change(s, store_move(s, "/", "x")), STORE_ERR_INVALID);
    assert_error(change(s, store_move(s, "c", "/")), STORE_ERR_EXISTS);
    assert_error(change(s, store_move(s, "a", "c")), STORE_ERR_EXISTS);
    assert_error(change(s, store_move(s, "a", "a")), STORE_ERR_EXISTS);
    assert_error(change(s, store_move(s, "none", "x")), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_move(s, "a", "none/x")), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_move(s, "a", "c/d/renamed/x")), STORE_ERR_NOT_DIRECTORY);
    assert_error(change(s, store_move(s, "a", "@a")), STORE_ERR_NAME);
    store_close(s);
}

/* "d/d/…", `depth` times. */
static char *deep(char path[STORE_PATH_MAX], const char *first, unsigned depth)
{
    strcpy(path, first);
    for (unsigned i = 1; i < depth; i++)
        strcat(path, "/d");
    return path;
}

static void test_depth(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);
    char path[STORE_PATH_MAX];
    uint32_t number;

    assert_ok(store_begin(s));
    for (unsigned i = 1; i <= STORE_DEPTH_MAX; i++)
        assert_ok(store_mkdir(s, deep(path, "d", i)));
    assert_ok(store_mkdir(s, "tall"));
    assert_ok(store_mkdir(s, "tall/d"));
    assert_ok(store_put(s, "tall/d/s", &value, false, &number));
    assert_ok(store_put(s, "tall/s", &value, false, &number));
    assert_ok(store_commit(s));
    assert_error(change(s, store_mkdir(s, deep(path, "d", STORE_DEPTH_MAX + 1))), STORE_ERR_LIMIT);
    strcat(deep(path, "d", STORE_DEPTH_MAX), "/s");
    assert_error(change(s, store_put(s, path, &value, false, &number)), STORE_ERR_LIMIT);
    assert_error(change(s, store_move(s, "tall/s", path)), STORE_ERR_LIMIT);
    /* `tall` is three high: it may stand at 30, not at 31. */
    strcat(deep(path, "d", STORE_DEPTH_MAX - 2), "/t");
    assert_error(change(s, store_move(s, "tall", path)), STORE_ERR_LIMIT);
    strcat(deep(path, "d", STORE_DEPTH_MAX - 3), "/t");
    assert_ok(change(s, store_move(s, "tall", path)));
    strcat(path, "/d/s");
    assert_text(s, path, "value");
    store_close(s);
    assert_ok(try_load(f));
}

/* Something removed from a directory that moved too deep since can't be restored there. */
static void test_restoring_too_deep(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    char path[STORE_PATH_MAX];

    assert_ok(store_begin(s));
    for (unsigned i = 1; i < STORE_DEPTH_MAX; i++)
        assert_ok(store_mkdir(s, deep(path, "d", i)));
    assert_ok(store_mkdir(s, "t"));
    assert_ok(store_mkdir(s, "t/gone"));
    assert_ok(store_remove(s, "t/gone", STORE_RECOVERY_S));
    strcat(path, "/t");
    assert_ok(store_move(s, "t", path));
    assert_ok(store_commit(s));
    strcat(path, "/gone");
    assert_error(change(s, store_restore(s, path)), STORE_ERR_LIMIT);
    assert_ok(change(s, store_purge(s, path)));
    store_close(s);
    assert_ok(try_load(f));
}

static void test_remove_and_restore(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_stats stats;
    struct store_attr attr;

    make_directory(s, "a");
    put_text(s, "a/secret", "one");
    struct store_attr before = resolve(s, "a/secret");
    assert_error(change(s, store_remove(s, "a", STORE_RECOVERY_S)), STORE_ERR_NOT_EMPTY);
    assert_error(change(s, store_remove(s, "/", STORE_RECOVERY_S)), STORE_ERR_INVALID);
    assert_error(change(s, store_remove(s, "none", STORE_RECOVERY_S)), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_restore(s, "a/secret")), STORE_ERR_EXISTS);
    assert_error(change(s, store_restore(s, "a/none")), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_restore(s, "/")), STORE_ERR_INVALID);

    remove_path(s, "a/secret");
    assert_false(there(s, "a/secret"));
    assert_error(store_lookup(s, before.parent, "secret", &attr), STORE_ERR_NOT_FOUND);
    assert_ok(store_stat(s, before.node, &attr)); /* by its id it is still known */
    assert_true(attr.deleted);
    assert_int_equal(attr.parent, before.parent);
    assert_ok(store_stat(s, before.version, &attr));
    assert_true(attr.deleted);
    store_stats(s, &stats);
    assert_int_equal(stats.secrets, 0);
    assert_int_equal(stats.deleted, 1);
    assert_int_equal(stats.versions, 1);
    assert_int_equal(stats.value_bytes, 0);
    assert_ok(store_check(s)); /* deleted ones, too */

    put_text(s, "a/secret", "two"); /* another secret with the name */
    assert_int_not_equal(resolve(s, "a/secret").node, before.node);
    assert_error(change(s, store_restore(s, "a/secret")), STORE_ERR_EXISTS);
    remove_path(s, "a/secret");
    assert_ok(change(s, store_restore(s, "a/secret"))); /* the one removed last */
    assert_text(s, "a/secret", "two");
    assert_ok(change(s, store_move(s, "a/secret", "a/other")));
    assert_ok(change(s, store_restore(s, "a/secret")));
    assert_text(s, "a/secret", "one");
    assert_int_equal(resolve(s, "a/secret").node, before.node);
    assert_int_equal(resolve(s, "a/secret").version, before.version);
    assert_error(change(s, store_restore(s, "a/secret/x")), STORE_ERR_NOT_DIRECTORY);
    store_close(s);
    assert_ok(try_load(f));
}

/* A directory comes back empty; what was removed from it comes back after it. */
static void test_restoring_directories(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    make_directory(s, "a");
    put_text(s, "a/secret", "value");
    remove_path(s, "a/secret");
    remove_path(s, "a");
    assert_error(change(s, store_restore(s, "a/secret")), STORE_ERR_NOT_FOUND);
    assert_ok(change(s, store_restore(s, "a")));
    assert_false(there(s, "a/secret"));
    assert_ok(change(s, store_restore(s, "a/secret")));
    assert_text(s, "a/secret", "value");
    store_close(s);
}

static bool file_has(const char *path, const void *bytes, size_t len)
{
    struct stat st;
    bool found = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        found = memmem(map, (size_t)st.st_size, bytes, len) != NULL;
        munmap(map, (size_t)st.st_size);
    }
    close(fd);
    return found;
}

/* The seal of the row of version `id`. */
static void seal_of(const struct fixture *f, uint64_t id, unsigned char seal[40])
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT seal FROM version WHERE id = ?1", -1, &statement, NULL),
        SQLITE_OK);
    sqlite3_bind_int64(statement, 1, (int64_t)id);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    memcpy(seal, sqlite3_column_blob(statement, 0), 40);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

static void test_purge(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_stats stats;
    unsigned char seal[40];
    char wal[128];

    snprintf(wal, sizeof wal, "%s-wal", f->path);
    make_directory(s, "a");
    make_directory(s, "a/b");
    put_text(s, "a/b/secret", "one");
    struct store_attr secret = resolve(s, "a/b/secret");
    seal_of(f, secret.version, seal);
    put_text(s, "a/b/secret", "two");
    put_text(s, "a/kept", "kept");
    assert_error(change(s, store_purge(s, "a/b/secret")), STORE_ERR_EXISTS);
    assert_error(change(s, store_purge(s, "a/b/none")), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_purge(s, "/")), STORE_ERR_INVALID);
    remove_path(s, "a/b/secret");
    put_text(s, "a/b/secret", "three"); /* a second one with the name, removed too */
    remove_path(s, "a/b/secret");
    remove_path(s, "a/b");
    assert_true(file_has(wal, seal, sizeof seal) || file_has(f->path, seal, sizeof seal));

    struct store_attr parent = resolve(s, "a");
    assert_ok(change(s, store_purge(s, "a/b"))); /* with all that was removed from inside it */
    assert_int_equal(resolve(s, "a").mtime_ns, parent.mtime_ns);
    store_stats(s, &stats);
    assert_int_equal(stats.deleted, 0);
    assert_int_equal(stats.versions, 1);
    assert_int_equal(stats.directories, 2);
    assert_error(change(s, store_restore(s, "a/b")), STORE_ERR_NOT_FOUND);
    assert_error(change(s, store_purge(s, "a/b")), STORE_ERR_NOT_FOUND);
    assert_error(store_stat(s, secret.node, &(struct store_attr){0}), STORE_ERR_NOT_FOUND);
    assert_error(store_stat(s, secret.version, &(struct store_attr){0}), STORE_ERR_NOT_FOUND);
    assert_ok(store_compact(s, -1));
    assert_false(file_has(wal, seal, sizeof seal));
    assert_false(file_has(f->path, seal, sizeof seal));
    store_close(s);
    s = open_store(f, STORE_READ_ONLY);
    assert_text(s, "a/kept", "kept");
    assert_int_equal(resolve(s, "a").mtime_ns, parent.mtime_ns); /* kept without the entry */
    store_close(s);
}

/* ---- Listings -----------------------------------------------------------------------------------
 */

struct listing {
    unsigned count;
    unsigned stop_after;
    uint64_t last;
    char names[512];
};

static bool note_name(void *arg, const char *name, const struct store_attr *attr)
{
    struct listing *l = arg;
    assert_true(attr->node > l->last);
    l->last = attr->node;
    strcat(strcat(l->names, name), " ");
    return ++l->count != l->stop_after;
}

static void test_list(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct listing l = {0};

    make_directory(s, "z");
    make_directory(s, "z/inside");
    put_text(s, "c", "3");
    put_text(s, "a", "1");
    put_text(s, "b", "2");
    assert_ok(store_list(s, STORE_ROOT_ID, 0, note_name, &l));
    assert_string_equal(l.names, "z c a b ");
    /* In two parts, also when the entry between them went in the meantime. */
    l = (struct listing){.stop_after = 2};
    assert_ok(store_list(s, STORE_ROOT_ID, 0, note_name, &l));
    assert_string_equal(l.names, "z c ");
    uint64_t after = l.last;
    assert_ok(store_list(s, STORE_ROOT_ID, after, note_name, &l));
    assert_string_equal(l.names, "z c a b ");
    assert_ok(change(s, store_move(s, "c", "z/c")));
    l = (struct listing){0};
    assert_ok(store_list(s, STORE_ROOT_ID, after, note_name, &l));
    assert_string_equal(l.names, "a b ");
    remove_path(s, "z/c");
    l = (struct listing){0};
    assert_ok(store_list(s, STORE_ROOT_ID, after, note_name, &l));
    assert_string_equal(l.names, "a b ");
    assert_ok(change(s, store_restore(s, "z/c")));
    assert_ok(change(s, store_move(s, "z/c", "again"))); /* in its place, by its id */
    l = (struct listing){0};
    assert_ok(store_list(s, STORE_ROOT_ID, 0, note_name, &l));
    assert_string_equal(l.names, "z again a b ");
    l = (struct listing){0};
    assert_ok(store_list(s, STORE_ROOT_ID, UINT64_MAX, note_name, &l));
    assert_int_equal(l.count, 0);
    assert_error(store_list(s, resolve(s, "a").node, 0, note_name, &l), STORE_ERR_NOT_DIRECTORY);
    assert_error(store_list(s, 9999, 0, note_name, &l), STORE_ERR_NOT_FOUND);
    store_close(s);
}

static bool note_deleted(void *arg, const char *path, const struct store_attr *attr,
                         int64_t deleted_ns)
{
    struct listing *l = arg;
    (void)attr;
    assert_true(deleted_ns > 0);
    strcat(strcat(l->names, path), " ");
    return ++l->count != l->stop_after;
}

static void test_list_deleted(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct listing l = {0};

    make_directory(s, "a");
    put_text(s, "a/secret", "1");
    put_text(s, "b", "1");
    assert_ok(store_list_deleted(s, note_deleted, &l));
    assert_int_equal(l.count, 0);
    remove_path(s, "a/secret");
    remove_path(s, "b");
    remove_path(s, "a");
    assert_ok(store_list_deleted(s, note_deleted, &l));
    assert_int_equal(l.count, 3);
    assert_non_null(strstr(l.names, "a/secret "));
    assert_non_null(strstr(l.names, "b "));
    l = (struct listing){.stop_after = 1};
    assert_ok(store_list_deleted(s, note_deleted, &l));
    assert_int_equal(l.count, 1);
    store_close(s);
}

/* ---- Policies and descriptions
 * -------------------------------------------------------------------- */

static void test_policy(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct policy policy = policy_make(1000, 1001, 0640);
    struct policy back;

    put_text(s, "secret", "value");
    make_directory(s, "dir");
    for (uint32_t i = 0; i < POLICY_ACL_MAX; i++)
        assert_ok(policy_set_entry(&policy, i % 2 ? POLICY_USER : POLICY_GROUP, i, i % 8));
    policy_fit_mask(&policy);
    assert_ok(change(s, store_set_policy(s, "secret", &policy)));
    assert_ok(change(s, store_set_policy(s, "dir", &policy)));
    assert_ok(change(s, store_set_policy(s, "/", &(struct policy){.mode = 0711})));
    for (int i = 0; i < 2; i++) {
        struct store_attr attr = resolve(s, "secret");
        assert_int_equal(attr.uid, 1000);
        assert_int_equal(attr.gid, 1001);
        assert_int_equal(attr.mode, 0670);
        assert_true(attr.has_acl);
        assert_true(attr.ctime_ns > attr.mtime_ns);
        assert_ok(store_policy(s, attr.node, &back));
        assert_true(policy_equal(&policy, &back));
        assert_ok(store_policy(s, attr.version, &back)); /* a version's is its secret's */
        assert_true(policy_equal(&policy, &back));
        assert_int_equal(resolve(s, "").mode, 0711);
        store_close(s);
        s = open_store(f, STORE_READ_WRITE);
    }
    struct store_stats before;
    struct store_stats after;
    store_stats(s, &before);
    assert_ok(change(s, store_set_policy(s, "secret", &policy))); /* the same: no commit */
    store_stats(s, &after);
    assert_int_equal(before.generation, after.generation);
    policy.mode = 01000;
    assert_error(change(s, store_set_policy(s, "secret", &policy)), STORE_ERR_INVALID);
    policy.mode = 0400;
    policy.entries[1] = policy.entries[0];
    assert_error(change(s, store_set_policy(s, "secret", &policy)), STORE_ERR_INVALID);
    policy = policy_make(0, 0, 0400);
    assert_error(change(s, store_set_policy(s, "none", &policy)), STORE_ERR_NOT_FOUND);
    assert_error(store_policy(s, 9999, &back), STORE_ERR_NOT_FOUND);
    store_close(s);
}

static void test_description(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    char text[STORE_DESCRIPTION_MAX + 2];
    struct store_details d;

    put_text(s, "secret", "value");
    memset(text, 'x', sizeof text);
    text[STORE_DESCRIPTION_MAX + 1] = '\0';
    assert_error(change(s, store_set_description(s, "secret", text)), STORE_ERR_LIMIT);
    text[STORE_DESCRIPTION_MAX] = '\0';
    assert_ok(change(s, store_set_description(s, "secret", text)));
    assert_ok(change(s, store_set_description(s, "", "the root")));
    assert_error(change(s, store_set_description(s, "secret", "\n")), STORE_ERR_INVALID);
    assert_error(change(s, store_set_description(s, "none", "x")), STORE_ERR_NOT_FOUND);
    store_close(s);
    s = open_store(f, STORE_READ_WRITE);
    assert_ok(store_details(s, resolve(s, "secret").node, &d));
    assert_string_equal(d.description, text);
    assert_true(d.created_ns > 0);
    assert_ok(store_details(s, STORE_ROOT_ID, &d));
    assert_string_equal(d.description, "the root");
    assert_int_equal(d.version_count, 0);
    assert_ok(change(s, store_set_description(s, "secret", "")));
    assert_ok(store_details(s, resolve(s, "secret").node, &d));
    assert_string_equal(d.description, "");
    assert_error(store_details(s, 9999, &d), STORE_ERR_NOT_FOUND);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_paths),
        store_test(test_mkdir),
        store_test(test_move),
        store_test(test_depth),
        store_test(test_restoring_too_deep),
        store_test(test_remove_and_restore),
        store_test(test_restoring_directories),
        store_test(test_purge),
        store_test(test_list),
        store_test(test_list_deleted),
        store_test(test_policy),
        store_test(test_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
