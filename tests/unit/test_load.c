/*
 * Loading a store of so many rows that several threads open them: the same index as of a small one,
 * and the same words about the first bad row, wherever it is and whatever comes after it.
 */
#include "helpers.h"

#include <stdio.h>
#include <string.h>

#define SECRETS 3000 /* 6000 rows: some twenty batches */

static void fill(const struct fixture *f)
{
    struct store *s = open_store(f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);
    char path[32];
    uint32_t number;

    assert_ok(store_begin(s));
    for (unsigned i = 0; i < SECRETS; i++) {
        snprintf(path, sizeof path, "s%u", i);
        assert_ok(store_put(s, path, &value, false, &number));
    }
    assert_ok(store_commit(s));
    store_close(s);
}

/* A load must fail at `object`, for the reason given. */
static void check_refused(const struct fixture *f, const char *object, const char *reason)
{
    assert_error(try_load(f), STORE_ERR_INTEGRITY);
    assert_string_equal(store_fault()->object, object);
    assert_string_equal(store_fault()->reason, reason);
}

static void test_loads_all(void **state)
{
    const struct fixture *f = *state;
    struct store_stats stats;
    char path[32];

    fill(f);
    struct store *s = open_store(f, STORE_READ_ONLY);
    store_stats(s, &stats);
    assert_int_equal(stats.secrets, SECRETS);
    assert_int_equal(stats.versions, SECRETS);
    for (unsigned i = 0; i < SECRETS; i += 7) {
        snprintf(path, sizeof path, "s%u", i);
        assert_text(s, path, "value");
    }
    store_close(s);
}

/* Ids are given out in turn: of secret i the node is 17 + 2i, and its version one more. */
static void test_the_first_bad_row_counts(void **state)
{
    const struct fixture *f = *state;

    fill(f);
    raw_sql(f, "UPDATE node SET box = zeroblob(256) WHERE id > 3017 AND id % 3 = 0");
    check_refused(f, "node 3021", "its seal is broken");
    raw_sql(f, "UPDATE node SET lookup = randomblob(32) WHERE id = 1017");
    check_refused(f, "node 1017", "its lookup hash is wrong");
    raw_sql(f, "UPDATE node SET box = zeroblob(20000) WHERE id = 517");
    check_refused(f, "node 517", "its record is too large");
    raw_sql(f, "UPDATE node SET box = zeroblob(16384) WHERE id = 19");
    check_refused(f, "node 19", "its seal is broken");
}

static void test_bad_versions_are_found(void **state)
{
    const struct fixture *f = *state;

    fill(f);
    raw_sql(f, "UPDATE version SET seal = randomblob(40) WHERE id = 4018");
    check_refused(f, "rows", "a row was exchanged");
    raw_sql(f, "UPDATE version SET id = 100001 WHERE id = 2018");
    check_refused(f, "version 100001", "no secret has it");
    raw_sql(f, "DELETE FROM version WHERE id = 100001");
    check_refused(f, "version 2018", "its row is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_loads_all),
        store_test(test_the_first_bad_row_counts),
        store_test(test_bad_versions_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
