/*
 * The recovery window of what was removed: how long it lasts, what is restored until then, and what
 * is purged after it. The clock is the test's own.
 */
#include "changes.h"
#include "helpers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400
#define SECOND_NS INT64_C(1000000000)

int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

static int64_t now_s = 1800000000;

/* Each call is a little later than the one before, so that no two commits are at one time. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    static long calls;

    if (clock != CLOCK_REALTIME)
        return __real_clock_gettime(clock, ret_time);
    *ret_time = (struct timespec){now_s, ++calls};
    return 0;
}

static enum store_err remove_for(struct store *s, const char *path, uint32_t recovery_s)
{
    assert_ok(store_begin(s));
    enum store_err err = store_remove(s, path, recovery_s);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static enum store_err restore(struct store *s, const char *path)
{
    assert_ok(store_begin(s));
    enum store_err err = store_restore(s, path);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static size_t purge_due(struct store *s, size_t max)
{
    size_t count;
    assert_ok(store_begin(s));
    assert_ok(store_purge_due(s, max, &count));
    assert_ok(store_commit(s));
    return count;
}

/* What is deleted, as "path:seconds " of the window, in the order of the ids. */
struct found {
    uint64_t ids[16];
    char texts[16][64];
    size_t count;
};

static bool note(void *arg, const char *path, const struct store_attr *attr, int64_t deleted_ns)
{
    struct found *found = arg;
    size_t at = found->count++;

    assert_in_range(at, 0, 15);
    for (; at > 0 && found->ids[at - 1] > attr->node; at--) {
        found->ids[at] = found->ids[at - 1];
        memcpy(found->texts[at], found->texts[at - 1], sizeof found->texts[at]);
    }
    found->ids[at] = attr->node;
    snprintf(found->texts[at], sizeof found->texts[at], "%s:%d ", path,
             (int)((attr->purge_ns - deleted_ns) / SECOND_NS));
    return true;
}

static void assert_deleted(struct store *s, const char *expected)
{
    struct found found = {.count = 0};
    char text[1024] = "";

    assert_ok(store_refresh(s, NULL));
    assert_ok(store_list_deleted(s, note, &found));
    for (size_t i = 0; i < found.count; i++)
        strcat(text, found.texts[i]);
    assert_string_equal(text, expected);
}

static void test_window(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store *other = open_store(f, STORE_FOLLOW);

    put_text(s, "a", "one");
    put_text(s, "b", "two");
    put_text(s, "c", "three");
    assert_int_equal(resolve(s, "a").purge_ns, 0);
    remove_path(s, "a");
    assert_ok(remove_for(s, "b", 7 * DAY_S));
    assert_ok(remove_for(s, "c", STORE_RECOVERY_MAX_S));
    for (int i = 0; i < 2; i++) {
        assert_deleted(s, "a:2592000 b:604800 c:315360000 ");
        store_close(s);
        s = open_store(f, STORE_READ_WRITE);
    }
    assert_deleted(other, "a:2592000 b:604800 c:315360000 ");
    assert_ok(restore(s, "b"));
    assert_int_equal(resolve(s, "b").purge_ns, 0);
    remove_path(s, "b"); /* what it was once removed for is forgotten */
    assert_deleted(s, "a:2592000 b:2592000 c:315360000 ");
    put_text(s, "d", "four");
    assert_error(remove_for(s, "d", STORE_RECOVERY_MAX_S + 1), STORE_ERR_LIMIT);
    assert_text(s, "d", "four");
    assert_ok(store_check(s));
    store_close(other);
    store_close(s);
}

static void test_restore_until_it_is_over(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);

    put_text(s, "a", "one");
    assert_ok(remove_for(s, "a", 100));
    now_s += 99;
    assert_ok(restore(s, "a"));
    assert_text(s, "a", "one");
    assert_ok(remove_for(s, "a", 100));
    now_s += 100;
    assert_error(restore(s, "a"), STORE_ERR_EXPIRED);
    now_s -= 50; /* the clock was set back */
    assert_ok(restore(s, "a"));
    assert_ok(remove_for(s, "a", 0));
    assert_error(restore(s, "a"), STORE_ERR_EXPIRED);
    now_s -= 50;
    assert_error(restore(s, "a"), STORE_ERR_EXPIRED);
    now_s += 50;
    assert_error(restore(s, "b"), STORE_ERR_NOT_FOUND);
    store_close(s);
}

/* Of several removed from one path, the last that still can be. */
static void test_restore_the_last_that_is_left(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);

    put_text(s, "a", "long");
    assert_ok(remove_for(s, "a", 1000));
    put_text(s, "a", "short");
    assert_ok(remove_for(s, "a", 10));
    now_s += 11;
    assert_ok(restore(s, "a"));
    assert_text(s, "a", "long");
    assert_error(restore(s, "a"), STORE_ERR_EXPIRED);
    assert_int_equal(purge_due(s, 10), 1);
    assert_error(restore(s, "a"), STORE_ERR_EXISTS);
    assert_text(s, "a", "long");
    store_close(s);
}

static void test_purge_due(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store *other = open_store(f, STORE_FOLLOW);
    struct store_stats stats;
    char path[16];

    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "s%d", i);
        put_text(s, path, "one");
        put_text(s, path, "two");
    }
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "s%d", i);
        assert_ok(remove_for(s, path, i < 3 ? 10 : 1000));
    }
    uint64_t generation = store_generation(s);
    assert_int_equal(purge_due(s, 10), 0);
    assert_int_equal(store_generation(s), generation);
    now_s += 11;
    assert_int_equal(purge_due(s, 2), 2);
    assert_deleted(s, "s2:10 s3:1000 ");
    assert_deleted(other, "s2:10 s3:1000 ");
    assert_int_equal(purge_due(s, 2), 1);
    assert_int_equal(purge_due(s, 2), 0);
    store_stats(s, &stats);
    assert_int_equal(stats.versions, 4);
    assert_int_equal(stats.deleted, 1);
    assert_text(s, "s4", "two");
    assert_ok(restore(s, "s3"));
    assert_error(restore(s, "s0"), STORE_ERR_NOT_FOUND);
    assert_ok(store_check(s));
    assert_ok(store_refresh(other, NULL));
    store_stats(other, &stats);
    assert_int_equal(stats.versions, 4);
    store_close(s);
    s = open_store(f, STORE_READ_ONLY);
    assert_ok(store_check(s));
    store_close(s);
    store_close(other);
}

static void test_directories(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);

    make_directory(s, "d");
    make_directory(s, "d/sub");
    put_text(s, "d/sub/a", "one");
    put_text(s, "d/b", "two");
    assert_ok(remove_for(s, "d/sub/a", 5000));
    now_s += 100;
    assert_ok(remove_for(s, "d/sub", 10)); /* as long as what is in it, and not all of that */
    assert_ok(remove_for(s, "d/b", 20));
    assert_ok(remove_for(s, "d", 5001));
    assert_deleted(s, "d:5001 d/sub:4900 d/sub/a:5000 d/b:20 ");
    now_s += 30;
    assert_int_equal(purge_due(s, 10), 1);
    assert_deleted(s, "d:5001 d/sub:4900 d/sub/a:5000 ");
    now_s += 5000;
    assert_int_equal(purge_due(s, 1), 1); /* from below */
    assert_deleted(s, "d:5001 d/sub:4900 ");
    assert_ok(store_check(s));
    assert_int_equal(purge_due(s, 1), 1);
    assert_deleted(s, "d:5001 ");
    int64_t mtime_ns = resolve(s, "").mtime_ns;
    assert_int_equal(purge_due(s, 5), 1);
    assert_deleted(s, "");
    assert_int_equal(resolve(s, "").mtime_ns, mtime_ns);
    store_close(s);
    s = open_store(f, STORE_READ_WRITE);
    assert_int_equal(resolve(s, "").mtime_ns, mtime_ns); /* which no entry tells any more */
    store_close(s);
}

/* A directory that is to go at once takes with it what could be restored. */
static void test_at_once(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    size_t count;

    make_directory(s, "d");
    put_text(s, "d/a", "one");
    remove_path(s, "d/a");
    put_text(s, "b", "two");
    assert_ok(remove_for(s, "d", 0));
    assert_deleted(s, "d:0 d/a:2592000 ");
    assert_ok(store_begin(s)); /* not in the commit that removes it */
    assert_ok(store_remove(s, "b", 0));
    assert_ok(store_purge_due(s, 10, &count));
    assert_int_equal(count, 2);
    assert_ok(store_commit(s));
    assert_deleted(s, "b:0 ");
    now_s -= 1000; /* whatever the clock says */
    assert_int_equal(purge_due(s, 10), 1);
    now_s += 1000;
    assert_deleted(s, "");
    assert_error(store_purge_due(s, 10, &count), STORE_ERR_INVALID);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_window),
        store_test(test_restore_until_it_is_over),
        store_test(test_restore_the_last_that_is_left),
        store_test(test_purge_due),
        store_test(test_directories),
        store_test(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
