/*
 * Creating, opening, unlocking and loading: what is made, what is refused, and that a failure
 * leaves nothing behind. The one test of unlocking with the full cost of a passphrase is here.
 */
#include "helpers.h"
#include "keyslot.h"
#include "record.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static unsigned files_in(const char *folder)
{
    unsigned n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void test_a_new_store(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    struct store_stats stats;
    struct policy policy;

    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(files_in(f->folder), 1);
    struct store *s = open_store(f, STORE_READ_ONLY);
    assert_string_equal(store_path(s), f->path);
    store_stats(s, &stats);
    assert_int_equal(stats.generation, 1);
    assert_int_equal(stats.secrets, 0);
    assert_int_equal(stats.directories, 1);
    assert_int_equal(stats.deleted, 0);
    assert_int_equal(stats.versions, 0);
    assert_int_equal(stats.value_bytes, 0);
    assert_int_equal(stats.slots, 1);
    assert_int_equal(stats.uuid[6] >> 4, 4);
    assert_int_equal(stats.uuid[8] >> 6, 2);
    struct store_attr attr = resolve(s, "/");
    assert_int_equal(attr.node, STORE_ROOT_ID);
    assert_int_equal(attr.parent, STORE_ROOT_ID);
    assert_int_equal(attr.kind, STORE_DIRECTORY);
    assert_int_equal(attr.uid + attr.gid, 0);
    assert_int_equal(attr.mode, 0755);
    assert_false(attr.has_acl);
    assert_true(attr.mtime_ns > INT64_C(1700000000) * 1000000000);
    assert_ok(store_policy(s, STORE_ROOT_ID, &policy));
    assert_true(policy_equal(&policy, &(struct policy){.mode = 0755}));
    assert_ok(store_check(s));
    store_close(s);
    store_close(NULL);
}

static void test_stores_differ(void **state)
{
    struct fixture *f = *state;
    struct store_stats stats[2];
    for (int i = 0; i < 2; i++) {
        struct store *s = open_store(f, STORE_READ_ONLY);
        store_stats(s, &stats[i]);
        store_close(s);
        assert_int_equal(unlink(f->path), 0);
        assert_ok(store_create(f->path, &f->credential));
    }
    assert_memory_not_equal(stats[0].uuid, stats[1].uuid, STORE_UUID_BYTES);
}

static void test_mode_whatever_the_umask(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(unlink(f->path), 0);
    mode_t old = umask(0);
    enum store_err err = store_create(f->path, &f->credential);
    umask(old);
    assert_ok(err);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_create_refuses(void **state)
{
    struct fixture *f = *state;
    char path[128];
    SECBUF_AUTO struct secbuf shorter = secret_filled(STORE_KEY_BYTES - 1, 1);
    SECBUF_AUTO struct secbuf nothing = secret_filled(0, 1);
    struct store_credential bad[] = {{STORE_SLOT_KEYFILE, &shorter},
                                     {STORE_SLOT_PASSPHRASE, &nothing},
                                     {(enum store_slot_kind)9, &f->key}};

    assert_error(store_create(f->path, &f->credential), STORE_ERR_EXISTS);
    assert_ok(try_load(f)); /* untouched */
    snprintf(path, sizeof path, "%s/none/store.db", f->folder);
    assert_error(store_create(path, &f->credential), STORE_ERR_NO_STORE);
    snprintf(path, sizeof path, "%s/new.db", f->folder);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_error(store_create(path, &bad[i]), STORE_ERR_INVALID);
        assert_int_equal(files_in(f->folder), 1);
    }
    assert_int_equal(symlink("nowhere.db", path), 0);
    assert_error(store_create(path, &f->credential), STORE_ERR_EXISTS);
    assert_int_equal(files_in(f->folder), 2);
}

static void test_open_refuses(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/none.db", f->folder);
    assert_error(store_open(path, STORE_READ_ONLY, &s), STORE_ERR_NO_STORE);
    assert_error(store_open(path, STORE_READ_WRITE, &s), STORE_ERR_NO_STORE);
    assert_int_equal(files_in(f->folder), 1);
    assert_error(store_open(f->folder, STORE_READ_ONLY, &s), STORE_ERR_FORMAT);
    raw_sql(f, "PRAGMA user_version=2");
    assert_error(store_open(f->path, STORE_READ_ONLY, &s), STORE_ERR_FORMAT);
    assert_null(s);
}

static void test_the_right_key_only(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    SECBUF_AUTO struct secbuf wrong = secret_filled(STORE_KEY_BYTES, 99);
    SECBUF_AUTO struct secbuf longer = secret_filled(STORE_KEY_BYTES + 1, 1);
    SECBUF_AUTO struct secbuf phrase = secret_of("passphrase", 10);

    assert_ok(store_open(f->path, STORE_READ_ONLY, &s));
    assert_true(store_has_slot(s, STORE_SLOT_KEYFILE));
    assert_false(store_has_slot(s, STORE_SLOT_PASSPHRASE));
    assert_error(store_unlock(s, &(struct store_credential){STORE_SLOT_KEYFILE, &wrong}),
                 STORE_ERR_KEY);
    assert_error(store_unlock(s, &(struct store_credential){STORE_SLOT_PASSPHRASE, &phrase}),
                 STORE_ERR_KEY);
    assert_error(store_unlock(s, &(struct store_credential){STORE_SLOT_KEYFILE, &longer}),
                 STORE_ERR_INVALID);
    assert_ok(store_unlock(s, &f->credential)); /* after failures, and twice */
    assert_ok(store_unlock(s, &f->credential));
    assert_ok(store_load(s));
    assert_ok(store_load(s));
    store_close(s);
}

/* 256 MiB, 3 passes, as everybody gets them. */
static void test_passphrase(void **state)
{
    struct fixture *f = *state;
    SECBUF_AUTO struct secbuf phrase = secret_of("correct horse", 13);
    struct store_credential credential = {STORE_SLOT_PASSPHRASE, &phrase};
    struct store *s = NULL;

    assert_int_equal(unlink(f->path), 0);
    assert_ok(store_create(f->path, &credential));
    assert_ok(store_open(f->path, STORE_READ_WRITE, &s));
    assert_true(store_has_slot(s, STORE_SLOT_PASSPHRASE));
    assert_false(store_has_slot(s, STORE_SLOT_KEYFILE));
    assert_error(store_unlock(s, &f->credential), STORE_ERR_KEY);
    assert_ok(store_unlock(s, &credential));
    assert_ok(store_load(s));
    put_text(s, "secret", "value");
    assert_text(s, "secret", "value");
    store_close(s);
}

/* Put a slot's record into the file. */
static void write_slot(const struct fixture *f, int64_t id, const struct keyslot *slot)
{
    unsigned char box[RECORD_SLOT_MAX];
    size_t len = record_encode_slot(slot, box);
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;

    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "REPLACE INTO slot VALUES(?1, 1, ?2)", -1, &statement, NULL),
        SQLITE_OK);
    sqlite3_bind_int64(statement, 1, id);
    sqlite3_bind_blob(statement, 2, box, (int)len, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* A slot in the file that asks for 4 TiB is refused before anything is derived. */
static void test_slot_out_of_bounds(void **state)
{
    struct fixture *f = *state;
    struct timespec a;
    struct timespec b;
    struct keyslot slot = {.kind = STORE_SLOT_PASSPHRASE,
                           .cost = {.passes = 1, .memory_kib = UINT32_MAX}};
    struct store *s = NULL;

    write_slot(f, 2, &slot);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    assert_error(store_open(f->path, STORE_READ_ONLY, &s), STORE_ERR_INTEGRITY);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    assert_true((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < 100);
    assert_string_equal(store_fault()->object, "slot 2");
}

/* A slot added by somebody who knows the key of none: it may open, the load finds it. */
static void test_added_slot(void **state)
{
    struct fixture *f = *state;
    SECBUF_AUTO struct secbuf root_key = secret_filled(STORE_KEY_BYTES, 7);
    SECBUF_AUTO struct secbuf own = secret_filled(STORE_KEY_BYTES, 8);
    const struct store_new_slot own_slot = {.credential = {STORE_SLOT_KEYFILE, &own}};
    struct store_stats stats;
    struct keyslot slot;
    struct store *s = open_store(f, STORE_READ_ONLY);

    store_stats(s, &stats);
    store_close(s);
    assert_ok(keyslot_wrap(stats.uuid, 2, &own_slot, KEYSLOT_DEFAULT_COST, &root_key, &slot));
    write_slot(f, 2, &slot);
    assert_error(try_load(f), STORE_ERR_INTEGRITY); /* with the right key */
    assert_ok(store_open(f->path, STORE_READ_ONLY, &s));
    assert_ok(store_unlock(s, &own_slot.credential)); /* with a root key of their choice */
    assert_error(store_load(s), STORE_ERR_INTEGRITY);
    store_close(s);
}

static void test_too_many_slots(void **state)
{
    struct fixture *f = *state;
    struct keyslot slot = {.kind = STORE_SLOT_KEYFILE};
    struct store *s = NULL;
    for (int64_t id = 2; id <= KEYSLOT_MAX; id++)
        write_slot(f, id, &slot);
    assert_ok(store_open(f->path, STORE_READ_ONLY, &s));
    store_close(s);
    write_slot(f, KEYSLOT_MAX + 1, &slot);
    assert_error(store_open(f->path, STORE_READ_ONLY, &s), STORE_ERR_INTEGRITY);
}

static void test_read_only(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    assert_error(store_begin(s), STORE_ERR_DENIED);
    assert_error(store_mkdir(s, "a"), STORE_ERR_INVALID);
    store_rollback(s);
    store_close(s);
    assert_ok(try_load(f));
}

/* Whoever turns the write-ahead log off must not thereby stop followers from hearing of commits. */
static void test_the_log_is_insisted_on(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;

    raw_sql(f, "PRAGMA journal_mode=DELETE");
    enum store_err err = store_open(f->path, STORE_READ_WRITE, &s);
    store_close(s);
    if (err) {
        assert_error(err, STORE_ERR_INTEGRITY);
        return;
    }
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    char mode[16];
    snprintf(mode, sizeof mode, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
    assert_string_equal(mode, "wal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_a_new_store),
        store_test(test_stores_differ),
        store_test(test_mode_whatever_the_umask),
        store_test(test_create_refuses),
        store_test(test_open_refuses),
        store_test(test_the_right_key_only),
        store_test(test_passphrase),
        store_test(test_slot_out_of_bounds),
        store_test(test_added_slot),
        store_test(test_too_many_slots),
        store_test(test_read_only),
        store_test(test_the_log_is_insisted_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
