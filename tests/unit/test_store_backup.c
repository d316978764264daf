/*
 * Copies of a store: what the transaction sees, complete, verified where there are keys.
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct target {
    char path[160];
    struct fixture as_store; /* the same key */
};

/* An empty file of that name, as a caller of store_backup() makes it. */
static struct target make_target(const struct fixture *f, const char *name)
{
    struct target t = {.as_store = *f};
    snprintf(t.path, sizeof t.path, "%s/%s", f->folder, name);
    snprintf(t.as_store.path, sizeof t.as_store.path, "%.60s/%.20s", f->folder, name);
    int fd = open(t.path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
    return t;
}

static void assert_alone(const char *path)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
    char beside[200];
    for (size_t i = 0; i < 3; i++) {
        snprintf(beside, sizeof beside, "%s%s", path, suffixes[i]);
        assert_int_equal(access(beside, F_OK), -1);
    }
}

static void test_copy_has_what_is_committed(void **state)
{
    const struct fixture *f = *state;
    struct target t = make_target(f, "copy");
    struct store *s = open_store(f, STORE_READ_WRITE);
    make_directory(s, "dir");
    put_text(s, "dir/one", "in the log only");

    /* Another writer is in the middle of a commit. */
    struct store *other = open_store(f, STORE_READ_WRITE);
    assert_ok(store_begin(other));
    assert_ok(store_mkdir(other, "later"));
    assert_ok(store_backup(s, t.path));
    assert_ok(store_commit(other));
    store_close(other);
    assert_alone(t.path);
    assert_text(s, "dir/one", "in the log only"); /* the keys are its own still */
    put_text(s, "dir/one", "newer");
    store_close(s);

    struct store *copy = open_store(&t.as_store, STORE_READ_WRITE);
    assert_text(copy, "dir/one", "in the log only");
    struct store_attr attr;
    assert_error(store_resolve(copy, "later", &attr), STORE_ERR_NOT_FOUND);
    assert_ok(store_check(copy));
    put_text(copy, "dir/one", "of the copy");
    store_close(copy);
}

static void test_copy_without_keys(void **state)
{
    const struct fixture *f = *state;
    struct target t = make_target(f, "copy");
    struct store *s = open_store(f, STORE_READ_WRITE);
    put_text(s, "one", "1");
    store_close(s);
    raw_sql(f, "UPDATE version SET box = zeroblob(length(box))");

    assert_ok(store_open(f->path, STORE_READ_ONLY, &s));
    assert_ok(store_backup(s, t.path)); /* damaged, but nobody can tell */
    store_close(s);
    s = open_store(&t.as_store, STORE_READ_ONLY);
    assert_error(store_check(s), STORE_ERR_INTEGRITY);
    store_close(s);
}

static void test_damaged_store_gives_no_copy(void **state)
{
    const struct fixture *f = *state;
    struct target t = make_target(f, "copy");
    struct store *s = open_store(f, STORE_READ_WRITE);
    put_text(s, "one", "1");
    put_text(s, "one", "2");
    raw_sql(f, "UPDATE version SET box = zeroblob(length(box)) WHERE id = (SELECT min(id) FROM "
               "version)");
    assert_error(store_backup(s, t.path), STORE_ERR_INTEGRITY);
    assert_text(s, "one", "2");
    store_close(s);
}

static void test_targets_that_fail(void **state)
{
    const struct fixture *f = *state;
    struct target t = make_target(f, "copy");
    struct store *s = open_store(f, STORE_READ_WRITE);
    char missing[200];
    put_text(s, "one", "1");
    snprintf(missing, sizeof missing, "%s/no/copy", f->folder);
    assert_error(store_backup(s, missing), STORE_ERR_NO_STORE);
    assert_true(store_fault()->operation[0] != '\0');

    FILE *file = fopen(t.path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("no database ", file);
    assert_int_equal(fclose(file), 0);
    assert_error(store_backup(s, t.path), STORE_ERR_FORMAT);
    assert_text(s, "one", "1");
    put_text(s, "one", "2");
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_copy_has_what_is_committed),
        store_test(test_copy_without_keys),
        store_test(test_damaged_store_gives_no_copy),
        store_test(test_targets_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
