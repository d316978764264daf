/*
 * Values and versions: every size comes back byte for byte, numbers and ids never come back, what
 * is pruned, and which version is current and previous.
 */
#include "helpers.h"

#include <stdio.h>
#include <string.h>

static enum store_err put(struct store *s, const char *path, const struct secbuf *value, bool force,
                          uint32_t *ret_number)
{
    enum store_err err = store_begin(s);
    if (!err)
        err = store_put(s, path, value, force, ret_number);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static enum store_err set_current(struct store *s, const char *path, uint32_t number)
{
    enum store_err err = store_begin(s);
    if (!err)
        err = store_set_current(s, path, number);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static struct store_details details_of(struct store *s, const char *path)
{
    struct store_details d;
    assert_ok(store_details(s, resolve(s, path).node, &d));
    return d;
}

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {
        0, 1, 255, 256, 257, 4095, 4096, 4097, 65536, STORE_VALUE_MAX - 1, STORE_VALUE_MAX};
    struct store *s = open_store(f, STORE_READ_WRITE);
    uint64_t total = 0;
    char path[32];

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        SECBUF_AUTO struct secbuf value = secret_filled(sizes[i], (unsigned)i);
        uint32_t number = 0;
        snprintf(path, sizeof path, "size-%zu", sizes[i]);
        assert_ok(put(s, path, &value, false, &number));
        assert_int_equal(number, 1);
        assert_value(s, path, value.data, value.len);
        total += sizes[i];
    }
    for (int again = 0; again < 2; again++) {
        struct store_stats stats;
        store_stats(s, &stats);
        assert_int_equal(stats.value_bytes, total);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            SECBUF_AUTO struct secbuf value = secret_filled(sizes[i], (unsigned)i);
            snprintf(path, sizeof path, "size-%zu", sizes[i]);
            assert_value(s, path, value.data, value.len);
        }
        assert_ok(store_check(s));
        store_close(s);
        s = open_store(f, STORE_READ_ONLY); /* and once more from the file */
    }
    store_close(s);
}

static void test_too_large(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_filled(STORE_VALUE_MAX + 1, 1);
    struct store_attr attr;
    uint32_t number = 4711;
    assert_error(put(s, "secret", &value, false, &number), STORE_ERR_LIMIT);
    assert_int_equal(number, 4711);
    assert_error(store_resolve(s, "secret", &attr), STORE_ERR_NOT_FOUND);
    store_close(s);
}

static void test_versions(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);

    assert_int_equal(put_text(s, "secret", "one"), 1);
    struct store_attr first = resolve(s, "secret");
    assert_int_equal(first.number, 1);
    assert_int_equal(first.mode, 0400);
    assert_int_equal(first.version, first.current);
    struct store_details d = details_of(s, "secret");
    assert_int_equal(d.previous, 0);
    assert_int_equal(d.version_count, 1);

    assert_int_equal(put_text(s, "secret", "two!"), 2);
    struct store_attr second = resolve(s, "secret");
    assert_int_equal(second.node, first.node);
    assert_int_not_equal(second.version, first.version);
    assert_true(second.mtime_ns >= first.mtime_ns);
    assert_text(s, "secret", "two!");
    d = details_of(s, "secret");
    assert_int_equal(d.current, second.version);
    assert_int_equal(d.previous, first.version);
    assert_int_equal(d.next_number, 3);
    assert_int_equal(d.versions[0].id, first.version);
    assert_int_equal(d.versions[0].size_bytes, 3);
    assert_int_equal(d.versions[1].size_bytes, 4);

    /* By the id of a version: that version; by the id of the node: the current one. */
    struct store_attr attr;
    assert_ok(store_stat(s, first.version, &attr));
    assert_int_equal(attr.version, first.version);
    assert_int_equal(attr.current, second.version);
    assert_int_equal(attr.number, 1);
    assert_int_equal(attr.size_bytes, 3);
    assert_int_equal(attr.mtime_ns, first.mtime_ns);
    assert_ok(store_stat(s, first.node, &attr));
    assert_int_equal(attr.version, second.version);
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    assert_ok(store_read(s, first.version, &value));
    assert_memory_equal(value.data, "one", 3);
    store_close(s);
}

static void test_version_ids(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    uint64_t ids[4] = {0};
    size_t count = 99;

    put_text(s, "secret", "one");
    put_text(s, "secret", "two");
    put_text(s, "secret", "three");
    struct store_details d = details_of(s, "secret");
    uint64_t node = resolve(s, "secret").node;
    assert_ok(store_version_ids(s, node, ids, 4, &count));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ids[i], d.versions[2 - i].id); /* newest first */
    assert_int_equal(ids[3], 0);
    memset(ids, 0, sizeof ids);
    assert_ok(store_version_ids(s, node, ids, 2, &count));
    assert_int_equal(count, 2);
    assert_int_equal(ids[1], d.versions[1].id);
    assert_int_equal(ids[2], 0);
    assert_ok(store_version_ids(s, STORE_ROOT_ID, ids, 4, &count));
    assert_int_equal(count, 0);
    assert_error(store_version_ids(s, 9999, ids, 4, &count), STORE_ERR_NOT_FOUND);
    store_close(s);
}

static void test_the_same_value(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("same", 4);
    SECBUF_AUTO struct secbuf empty = SECBUF_INIT;
    struct store_stats before;
    struct store_stats after;
    uint32_t number = 0;

    assert_ok(put(s, "secret", &value, false, &number));
    store_stats(s, &before);
    number = 0;
    assert_ok(put(s, "secret", &value, false, &number));
    assert_int_equal(number, 1);
    store_stats(s, &after);
    assert_int_equal(after.generation, before.generation);
    assert_ok(put(s, "secret", &value, true, &number));
    assert_int_equal(number, 2);
    assert_ok(put(s, "secret", &empty, false, &number));
    assert_ok(put(s, "secret", &empty, false, &number));
    assert_int_equal(number, 3);
    /* Only the current value counts, not an older one. */
    assert_ok(put(s, "secret", &value, false, &number));
    assert_int_equal(number, 4);
    store_close(s);
}

static void test_rollback(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);

    put_text(s, "secret", "one");
    assert_error(set_current(s, "secret", 0), STORE_ERR_NO_VERSION); /* there is no previous */
    put_text(s, "secret", "two");
    put_text(s, "secret", "three");
    assert_ok(set_current(s, "secret", 0));
    assert_text(s, "secret", "two");
    assert_ok(set_current(s, "secret", 0)); /* and forth */
    assert_text(s, "secret", "three");
    assert_ok(set_current(s, "secret", 1));
    assert_text(s, "secret", "one");
    struct store_details d = details_of(s, "secret");
    assert_int_equal(d.previous, d.versions[2].id);
    assert_int_equal(d.version_count, 3);
    assert_ok(set_current(s, "secret", 1)); /* it is already: previous stays */
    assert_int_equal(details_of(s, "secret").previous, d.previous);
    assert_int_equal(put_text(s, "secret", "four"), 4);
    d = details_of(s, "secret");
    assert_int_equal(d.previous, d.versions[0].id);

    make_directory(s, "dir");
    assert_error(set_current(s, "secret", 5), STORE_ERR_NO_VERSION);
    assert_error(set_current(s, "secret", UINT32_MAX), STORE_ERR_NO_VERSION);
    assert_error(set_current(s, "dir", 1), STORE_ERR_IS_DIRECTORY);
    assert_error(set_current(s, "none", 1), STORE_ERR_NOT_FOUND);
    store_close(s);
}

static void test_pruning(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct store_stats stats;
    char text[16];
    uint32_t n = 0;

    while (n < STORE_VERSIONS_KEPT) {
        snprintf(text, sizeof text, "%u", ++n);
        assert_int_equal(put_text(s, "secret", text), n);
    }
    uint64_t first = details_of(s, "secret").versions[0].id;
    uint64_t second = details_of(s, "secret").versions[1].id;
    assert_ok(set_current(s, "secret", 1));
    assert_int_equal(put_text(s, "secret", "101"), 101); /* 2 goes, as 1 was current */
    struct store_details d = details_of(s, "secret");
    assert_int_equal(d.version_count, STORE_VERSIONS_KEPT);
    assert_int_equal(d.versions[0].number, 1);
    assert_int_equal(d.versions[1].number, 3);
    assert_int_equal(d.previous, first);
    assert_error(store_read(s, second, &value), STORE_ERR_NO_VERSION);
    assert_error(store_stat(s, second, &(struct store_attr){0}), STORE_ERR_NOT_FOUND);
    assert_error(set_current(s, "secret", 2), STORE_ERR_NO_VERSION);
    assert_int_equal(put_text(s, "secret", "102"), 102); /* 1 goes, though it was previous */
    d = details_of(s, "secret");
    assert_int_equal(d.versions[0].number, 3);
    assert_int_equal(d.previous, d.versions[STORE_VERSIONS_KEPT - 2].id);
    assert_error(store_read(s, first, &value), STORE_ERR_NO_VERSION);
    store_stats(s, &stats);
    assert_int_equal(stats.versions, STORE_VERSIONS_KEPT);
    store_close(s);

    s = open_store(f, STORE_READ_ONLY);
    assert_ok(store_check(s));
    assert_text(s, "secret", "102");
    for (uint32_t i = 0; i < STORE_VERSIONS_KEPT; i++) {
        snprintf(text, sizeof text, "%u", d.versions[i].number);
        assert_ok(store_read(s, d.versions[i].id, &value));
        assert_int_equal(value.len, strlen(text));
        assert_memory_equal(value.data, text, value.len);
    }
    store_close(s);
}

/* Neither pruning, nor rolling back, nor removing, nor purging gives a number or an id again. */
static void test_numbers_never_come_back(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    uint64_t highest = STORE_ROOT_ID;

    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t i = 1; i <= 3; i++) {
            char text[16];
            snprintf(text, sizeof text, "%u.%u", round, i);
            uint32_t number = put_text(s, "secret", text);
            /* The node lives through round 1; a purge and a new node begin anew. */
            assert_int_equal(number, round == 1 ? i + 3 : i);
            struct store_attr attr = resolve(s, "secret");
            assert_true(attr.version > highest);
            assert_true(attr.version > attr.node);
            highest = attr.version;
            assert_ok(set_current(s, "secret", number == 1 ? 1 : number - 1));
        }
        if (round > 0)
            remove_path(s, "secret");
        if (round > 1) {
            assert_ok(store_begin(s));
            assert_ok(store_purge(s, "secret"));
            assert_ok(store_commit(s));
        }
        store_close(s);
        s = open_store(f, STORE_READ_WRITE);
    }
    store_close(s);
}

static void test_reading(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    SECBUF_AUTO struct secbuf large = secret_filled(5000, 1);
    uint32_t number;

    assert_ok(put(s, "large", &large, false, &number));
    put_text(s, "small", "small");
    assert_ok(store_read(s, resolve(s, "large").version, &value));
    const unsigned char *data = value.data;
    size_t live = secbuf_live();
    assert_ok(store_read(s, resolve(s, "small").version, &value));
    assert_ptr_equal(value.data, data); /* the memory is used again, and nothing is left of it */
    assert_int_equal(secbuf_live(), live);
    assert_int_equal(value.len, 5);
    for (size_t i = value.len; i < value.capacity; i++)
        if (value.data[i] != 0 && i >= 256)
            fail_msg("byte %zu of the value before is still there", i);

    assert_error(store_read(s, resolve(s, "small").node, &value), STORE_ERR_NO_VERSION);
    assert_int_equal(value.len, 0); /* empty on failure */
    assert_error(store_read(s, 0, &value), STORE_ERR_NO_VERSION);
    assert_error(store_read(s, UINT64_MAX, &value), STORE_ERR_NO_VERSION);
    store_close(s);
}

static void test_put_refuses(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    static const struct {
        const char *path;
        enum store_err expected;
    } cases[] = {
        {"dir", STORE_ERR_IS_DIRECTORY},
        {"", STORE_ERR_IS_DIRECTORY},
        {"/", STORE_ERR_IS_DIRECTORY},
        {"none/a", STORE_ERR_NOT_FOUND},
        {"secret/a", STORE_ERR_NOT_DIRECTORY},
        {"..", STORE_ERR_NAME},
        {"dir/.", STORE_ERR_NAME},
        {"@view", STORE_ERR_NAME},
        {"dir/\n", STORE_ERR_NAME},
        {"\xff", STORE_ERR_NAME},
    };
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);
    uint32_t number;

    put_text(s, "secret", "value");
    make_directory(s, "dir");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_error(put(s, cases[i].path, &value, false, &number), cases[i].expected);
    assert_ok(put(s, "dir/@view", &value, false, &number));
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_sizes),          store_test(test_too_large),
        store_test(test_versions),       store_test(test_version_ids),
        store_test(test_the_same_value), store_test(test_rollback),
        store_test(test_pruning),        store_test(test_numbers_never_come_back),
        store_test(test_reading),        store_test(test_put_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
