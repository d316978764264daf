/*
 * Changes of a store on their way into the record: each has its line before it is committed, and
 * none is committed without.
 */
#include "audit.h"
#include "audit_verify.h"
#include "helpers.h"
#include "rekey.h"
#include "state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail_commit;

enum store_err __wrap_db_commit(struct db *db);
enum store_err __real_db_commit(struct db *db);

enum store_err __wrap_db_commit(struct db *db)
{
    if (!fail_commit)
        return __real_db_commit(db);
    db_end(db);
    return STORE_ERR_IO;
}

/* A store that is recorded in the file beside it. */
struct recorded {
    struct store *store;
    struct audit_log *log;
    char *path;
};

static const struct audit_actor somebody = {1000, 100, 77, "/usr/bin/secretctl", NULL, NULL, true};

static struct recorded open_recorded(const struct fixture *f)
{
    struct recorded r = {open_store(f, STORE_READ_WRITE), NULL, audit_file_name(f->path, NULL)};
    struct audit_head known;
    int fd = -1;

    assert_ok(audit_file_open(f->path, NULL, AUDIT_MISSING_JOINS, &fd, &known));
    assert_ok(audit_log_new(r.store, fd, &known, &r.log));
    audit_use(r.store, r.log, &somebody);
    return r;
}

static void close_recorded(struct recorded *r)
{
    store_close(r->store);
    audit_log_free(r->log);
    free(r->path);
}

/* The last line of the record; valid until the next call. */
static const char *last_line(const struct recorded *r)
{
    static char text[1 << 20];
    int fd = open(r->path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n > 0);
    close(fd);
    text[n - 1] = '\0'; /* the last newline */
    const char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

static void assert_last(const struct recorded *r, const char *expected)
{
    const char *line = last_line(r);
    if (strstr(line, expected) == NULL)
        fail_msg("%s is not in %s", expected, line);
}

static struct audit_report verify(struct recorded *r)
{
    struct audit_report report;
    int fd = open(r->path, O_RDONLY);
    assert_true(fd >= 0);
    assert_ok(audit_verify(r->store, &(struct audit_evidence){&fd, 1, NULL, 0}, &report));
    close(fd);
    return report;
}

#define in_transaction(s, call)     \
    do {                            \
        assert_ok(store_begin(s));  \
        assert_ok(call);            \
        assert_ok(store_commit(s)); \
    } while (0)

static void test_each_change_has_a_line(void **state)
{
    struct recorded r = open_recorded(*state);
    struct store *s = r.store;
    struct policy policy = policy_make(7, 8, 0440);
    struct store_rotation rotation = {.every_s = 3600};
    size_t count;

    make_directory(s, "/db//");
    assert_last(&r, "\"event\":\"mkdir\",\"path\":\"db\",\"version\":null,\"uid\":1000,\"gid\":100,"
                    "\"pid\":77,\"executable\":\"/usr/bin/secretctl\",\"unit\":null,"
                    "\"container\":null,\"sudo\":true,\"result\":\"ok\",\"chain\":");
    put_text(s, "db/password", "one");
    assert_last(&r, "\"event\":\"put\",\"path\":\"db/password\",\"version\":1,");
    put_text(s, "db/password", "two");
    assert_last(&r, "\"version\":2,");
    in_transaction(s, store_set_policy(s, "db/password", &policy));
    assert_last(&r, "\"event\":\"policy\",\"path\":\"db/password\"");
    assert_last(&r, "\"detail\":\"owner 0 -> 7, group 0 -> 8, mode 0400 -> 0440\"");
    in_transaction(s, store_set_current(s, "db/password", 1));
    assert_last(&r, "\"event\":\"rollback\",\"path\":\"db/password\",\"version\":1,");
    in_transaction(s, store_set_label(s, "db/password", STORE_LABEL_PENDING, 2));
    assert_last(&r, "\"event\":\"label\",\"path\":\"db/password\",\"version\":2,");
    assert_last(&r, "\"detail\":\"pending\"");
    in_transaction(s, store_revoke(s, "db/password", 2));
    assert_last(&r, "\"event\":\"revoke\",\"path\":\"db/password\",\"version\":2,");
    in_transaction(s, store_set_expiry(s, "db/password", 1795544431000000000));
    assert_last(&r, "\"event\":\"expire\"");
    assert_last(&r, "\"detail\":\"2026-11-24T18:20:31Z\"");
    in_transaction(s, store_set_description(s, "db/password", "said to nobody"));
    assert_last(&r, "\"event\":\"describe\"");
    assert_null(strstr(last_line(&r), "nobody"));
    in_transaction(s, store_set_rotation(s, "db/password", &rotation));
    assert_last(&r, "\"event\":\"schedule\"");
    assert_last(&r, "\"detail\":\"every 3600 s\"");
    in_transaction(s, store_move(s, "db/password", "/key"));
    assert_last(&r, "\"event\":\"move\",\"path\":\"db/password\"");
    assert_last(&r, "\"detail\":\"to /key\"");
    remove_path(s, "key");
    assert_last(&r, "\"event\":\"remove\",\"path\":\"key\"");
    in_transaction(s, store_restore(s, "key"));
    assert_last(&r, "\"event\":\"restore\",\"path\":\"key\"");
    in_transaction(s, store_remove(s, "key", 0));
    in_transaction(s, store_purge_due(s, 10, &count));
    assert_int_equal(count, 1);
    assert_last(&r, "\"event\":\"purge\",\"path\":\"key\"");
    audit_use_event(s, AUDIT_ROTATE);
    put_text(s, "key", "three");
    assert_last(&r, "\"event\":\"rotate\",\"path\":\"key\",\"version\":1,");

    uint64_t lines = verify(&r).lines;
    put_text(s, "key", "three"); /* the same value: no change */
    assert_ok(store_begin(s));
    assert_error(store_mkdir(s, "key"), STORE_ERR_EXISTS);
    store_rollback(s);
    struct audit_report report = verify(&r);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, lines);
    close_recorded(&r);
}

static void test_several_changes_of_one_commit(void **state)
{
    struct recorded r = open_recorded(*state);

    assert_ok(store_begin(r.store));
    for (unsigned i = 0; i < 100; i++) {
        char path[16];
        snprintf(path, sizeof path, "d%u", i);
        assert_ok(store_mkdir(r.store, path));
    }
    assert_int_equal(audit_log_head(r.log).number, 0);
    assert_ok(store_commit(r.store));
    assert_int_equal(audit_log_head(r.log).number, 100);
    assert_int_equal(r.store->root.checkpoint.head.number, 100);
    close_recorded(&r);
}

static void test_nothing_is_committed_unrecorded(void **state)
{
    const struct fixture *f = *state;
    struct recorded r = open_recorded(f);

    put_text(r.store, "key", "one");
    unlink(r.path);
    assert_ok(store_begin(r.store));
    assert_ok(store_mkdir(r.store, "d"));
    assert_error(store_commit(r.store), STORE_ERR_NO_STORE);
    close_recorded(&r);

    r = open_recorded(f);
    struct store_attr attr;
    assert_error(store_resolve(r.store, "d", &attr), STORE_ERR_NOT_FOUND);
    put_text(r.store, "key", "two"); /* the record goes on from what the store knows */
    assert_last(&r, "\"seq\":2,");
    close_recorded(&r);
}

static void test_a_commit_that_fails(void **state)
{
    struct recorded r = open_recorded(*state);

    assert_ok(store_begin(r.store));
    assert_ok(store_mkdir(r.store, "d"));
    fail_commit = true;
    assert_error(store_commit(r.store), STORE_ERR_IO);
    fail_commit = false;
    assert_last(&r, "\"seq\":2,\"event\":\"mkdir\",\"path\":\"d\"");
    assert_last(&r, "\"result\":\"failed\"");
    make_directory(r.store, "d");
    assert_last(&r, "\"seq\":3,");
    assert_int_equal(verify(&r).flaw, AUDIT_FLAW_NONE);
    close_recorded(&r);
}

/* What the store noted of the record tells that its end is missing. */
static void test_the_end_is_missing(void **state)
{
    const struct fixture *f = *state;
    struct recorded r = open_recorded(f);
    struct stat st;

    put_text(r.store, "key", "one");
    assert_int_equal(stat(r.path, &st), 0);
    put_text(r.store, "key", "two");
    put_text(r.store, "key", "three");
    close_recorded(&r);
    char *path = audit_file_name(f->path, NULL);
    assert_int_equal(truncate(path, st.st_size), 0);
    free(path);

    r = open_recorded(f);
    assert_true(audit_tampered(r.log));
    struct audit_report report = verify(&r);
    assert_int_equal(report.flaw, AUDIT_FLAW_CUT);
    assert_int_equal(report.missing, 2);
    assert_int_equal(report.line, 1);
    put_text(r.store, "key", "four"); /* going on does not hide it */
    report = verify(&r);
    assert_int_equal(report.flaw, AUDIT_FLAW_MISSING);
    assert_int_equal(report.line, 2);
    close_recorded(&r);
}

/* ---- Rekeys -------------------------------------------------------------- */

static enum store_err rekey(const struct fixture *f, struct store *s)
{
    struct store_rekey_slot slot = {.id = 1, .slot = {.credential = f->credential}};
    struct store_rekey how = {.slots = &slot, .slot_count = 1};
    return store_rekey(s, &how);
}

static void test_rekeys(void **state)
{
    const struct fixture *f = *state;
    struct recorded r = open_recorded(f);

    for (unsigned i = 0; i < AUDIT_FORMER_MAX; i++) {
        put_text(r.store, "key", i % 2 ? "one" : "two");
        assert_ok(rekey(f, r.store));
        assert_last(&r, "\"event\":\"rekey\",\"path\":null");
        assert_int_equal(r.store->root.former_count, i + 1);
    }
    put_text(r.store, "key", "three");
    close_recorded(&r);
    r = open_recorded(f);
    struct audit_report report = verify(&r);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 2 * AUDIT_FORMER_MAX + 1);
    close_recorded(&r);

    /* One more, and the lines under the first key can't be verified any more. */
    r = open_recorded(f);
    assert_ok(rekey(f, r.store));
    assert_int_equal(r.store->root.former_count, AUDIT_FORMER_MAX);
    report = verify(&r);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.unchecked, 2);
    close_recorded(&r);
}

static void test_a_rekey_that_fails(void **state)
{
    const struct fixture *f = *state;
    struct recorded r = open_recorded(f);

    put_text(r.store, "key", "one");
    fail_commit = true;
    assert_error(rekey(f, r.store), STORE_ERR_IO);
    fail_commit = false;
    assert_last(&r, "\"event\":\"rekey\"");
    assert_last(&r, "\"result\":\"failed\"");
    put_text(r.store, "key", "two");
    assert_int_equal(r.store->root.former_count, 0);
    assert_int_equal(verify(&r).flaw, AUDIT_FLAW_NONE);
    close_recorded(&r);
}

/* Who has not heard of the rekey yet writes on under the key of before. */
static void test_lines_under_the_former_key(void **state)
{
    const struct fixture *f = *state;
    struct store *late = open_store(f, STORE_READ_ONLY);
    struct recorded r = open_recorded(f);
    struct audit_entry entry = {.event = AUDIT_OPEN, .path = "key", .version = 1};
    struct audit_log *log;
    struct audit_head known;
    int fd = -1;

    assert_ok(audit_file_open(f->path, NULL, AUDIT_MISSING_JOINS, &fd, &known));
    assert_ok(audit_log_new(late, fd, &known, &log));
    put_text(r.store, "key", "one");
    assert_ok(rekey(f, r.store));
    assert_ok(audit_append(log, &entry, NULL, NULL));
    put_text(r.store, "key", "two");
    assert_ok(audit_append(log, &entry, NULL, NULL));
    assert_int_equal(verify(&r).flaw, AUDIT_FLAW_NONE);
    assert_int_equal(verify(&r).lines, 5);
    audit_log_free(log);
    store_close(late);
    close_recorded(&r);
}

/* ---- Files --------------------------------------------------------------- */

static void assert_refused(const struct fixture *f, const char *file, enum store_err err)
{
    struct audit_head known;
    int fd = -1;
    assert_error(audit_file_open(f->path, file, AUDIT_MISSING_JOINS, &fd, &known), err);
    assert_int_equal(fd, -1);
}

static void test_files_that_are_not_taken(void **state)
{
    const struct fixture *f = *state;
    char *path = audit_file_name(f->path, NULL);
    char other[128];
    char missing[128];

    snprintf(other, sizeof other, "%s/other", f->folder);
    snprintf(missing, sizeof missing, "%s/none/audit", f->folder);
    int fd = open(other, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(symlink(other, path), 0);
    assert_refused(f, NULL, STORE_ERR_IO);
    unlink(path);
    assert_int_equal(link(other, path), 0);
    assert_refused(f, NULL, STORE_ERR_DENIED);
    unlink(path);
    assert_int_equal(chmod(other, 0620), 0);
    assert_refused(f, other, STORE_ERR_DENIED);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(f, NULL, STORE_ERR_DENIED);
    assert_refused(f, missing, STORE_ERR_NO_STORE);
    free(path);
}

/* A file of one line with the number `first`. */
static void make_file(const char *path, unsigned first)
{
    char line[256];
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    int len = snprintf(line, sizeof line,
                       "{\"time\":\"2026-11-24T18:20:31.123456Z\",\"seq\":%u,\"event\":\"open\"}\n",
                       first);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, line, (size_t)len), len);
    close(fd);
}

static void test_rotated_names(void **state)
{
    static const struct {
        const char *end;
        unsigned first;
    } files[] = {{".2", 1}, {".1", 50}, {"-20261124", 90}, {"", 100}};
    static const char *const others[] = {".3.gz", "-old", ".", "x.1", ".1~"};
    const struct fixture *f = *state;
    char *path = audit_file_name(f->path, NULL);
    struct audit_files found;
    char name[160];

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "%s%s", path, files[i].end);
        make_file(name, files[i].first);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(name, sizeof name, "%s%s", path, others[i]);
        make_file(name, 7);
    }
    assert_ok(audit_files_find(path, &found));
    assert_int_equal(found.count, sizeof files / sizeof *files);
    for (size_t i = 0; i < found.count; i++) {
        snprintf(name, sizeof name, "%s%s", path, files[i].end);
        assert_string_equal(found.names[i], name);
    }
    audit_files_release(&found);
    free(path);
}

/* What was rotated away a moment ago is written to until somebody begins the next one. */
static void test_a_file_just_rotated_away(void **state)
{
    const struct fixture *f = *state;
    struct recorded r = open_recorded(f);
    char rotated[160];
    struct stat st;

    put_text(r.store, "key", "one");
    snprintf(rotated, sizeof rotated, "%s.1", r.path);
    assert_int_equal(rename(r.path, rotated), 0);
    close_recorded(&r);
    r = open_recorded(f);
    put_text(r.store, "key", "two");
    assert_int_equal(stat(r.path, &st), -1);
    close_recorded(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_each_change_has_a_line),
        store_test(test_several_changes_of_one_commit),
        store_test(test_nothing_is_committed_unrecorded),
        store_test(test_a_commit_that_fails),
        store_test(test_the_end_is_missing),
        store_test(test_rekeys),
        store_test(test_a_rekey_that_fails),
        store_test(test_lines_under_the_former_key),
        store_test(test_files_that_are_not_taken),
        store_test(test_rotated_names),
        store_test(test_a_file_just_rotated_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
