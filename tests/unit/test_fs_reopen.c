/*
 * Handles of superseded inodes: who is turned back, and who is counted, also by workers that die at
 * any place.
 */
#include "helpers.h"
#include "loop.h"
#include "reopen.h"

#include <string.h>

#define NODE 20
#define OLD 21 /* versions of it */
#define NEWER 22
#define THREAD 4711

static struct reopen_kept kept;
static struct reopen reopen = REOPEN_INIT(&kept, 1);
static uint64_t request;

static int clear(void **state)
{
    (void)state;
    memset(&kept, 0, sizeof kept);
    request = 2;
    return 0;
}

static enum reopen_way comes(uint32_t thread, uint64_t ino)
{
    request += 2;
    return reopen_way(&reopen, request, thread, NODE, ino, true);
}

/* The same request, taken by the next worker. */
static enum reopen_way comes_again(uint32_t thread, uint64_t ino)
{
    return reopen_way(&reopen, request | FUSE_UNIQUE_RESEND, thread, NODE, ino, true);
}

static void test_what_is_current_is_opened(void **state)
{
    (void)state;
    for (request = 2; request < 10; request += 2)
        assert_int_equal(reopen_way(&reopen, request, THREAD, NODE, OLD, false), REOPEN_OWN);
}

static void test_without_a_path(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(comes(THREAD, OLD), REOPEN_AGAIN);
        assert_int_equal(comes(THREAD, OLD), REOPEN_CURRENT);
    }
}

static void test_with_a_path(void **state)
{
    (void)state;
    assert_int_equal(comes(THREAD, OLD), REOPEN_AGAIN);
    request += 2;
    assert_int_equal(reopen_way(&reopen, request, THREAD, NODE, NEWER, false), REOPEN_OWN);
    assert_int_equal(comes(THREAD, OLD), REOPEN_AGAIN); /* a new one, without a path */
    assert_int_equal(comes(THREAD, OLD), REOPEN_CURRENT);
}

/* The kernel looks up once more only: who is overtaken again must not be turned back again. */
static void test_overtaken_twice(void **state)
{
    (void)state;
    assert_int_equal(comes(THREAD, OLD), REOPEN_AGAIN);
    assert_int_equal(comes(THREAD, NEWER), REOPEN_OWN_PAST_CACHE);
    assert_int_equal(comes(THREAD, NEWER), REOPEN_AGAIN);
    request += 2;
    assert_int_equal(reopen_way(&reopen, request, THREAD, NODE + 10, OLD + 10, true), REOPEN_AGAIN);
}

static void test_threads_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(comes(THREAD, OLD), REOPEN_AGAIN);
    assert_int_equal(comes(THREAD + 1, OLD), REOPEN_AGAIN);
    assert_int_equal(comes(THREAD + REOPEN_RETRIES + 2, OLD), REOPEN_AGAIN);
    assert_int_equal(comes(THREAD, OLD), REOPEN_CURRENT);
    assert_int_equal(comes(THREAD + 1, OLD), REOPEN_CURRENT);
    assert_int_equal(comes(0, OLD), REOPEN_CURRENT); /* all of those that have no number here */
    assert_int_equal(comes(0, OLD), REOPEN_CURRENT);
}

static void test_a_request_gets_the_same_answer_again(void **state)
{
    (void)state;
    assert_int_equal(comes(THREAD, OLD), REOPEN_AGAIN);
    assert_int_equal(comes_again(THREAD, OLD), REOPEN_AGAIN);
    assert_int_equal(comes(THREAD, OLD), REOPEN_CURRENT);
    assert_int_equal(comes_again(THREAD, OLD), REOPEN_CURRENT);
    assert_int_equal(comes_again(THREAD, OLD), REOPEN_CURRENT);
}

static void add(uint64_t ino, uint64_t version)
{
    request += 2;
    reopen_add(&reopen, request, ino, version);
    reopen_add(&reopen, request | FUSE_UNIQUE_RESEND, ino, version);
}

static void remove_one(uint64_t ino, uint64_t version)
{
    request += 2;
    reopen_remove(&reopen, request, ino, version);
    reopen_remove(&reopen, request | FUSE_UNIQUE_RESEND, ino, version);
}

static void assert_state(uint64_t ino, bool own, uint64_t version, bool several)
{
    struct reopen_state s = reopen_state(&reopen, ino);
    assert_int_equal(s.own, own);
    assert_int_equal(s.version, version);
    assert_int_equal(s.several, several);
}

static void test_handles_are_counted(void **state)
{
    (void)state;
    assert_state(OLD, false, 0, false);
    add(OLD, OLD);
    add(OLD, OLD);
    assert_state(OLD, true, 0, false);
    add(OLD, NEWER);
    assert_state(OLD, true, NEWER, true);
    remove_one(OLD, OLD);
    remove_one(OLD, OLD);
    assert_state(OLD, false, NEWER, false);
    add(OLD, NEWER + 1);
    assert_state(OLD, false, NEWER + 1, true);
    remove_one(OLD, NEWER + 1);
    remove_one(OLD, NEWER);
    assert_state(OLD, false, 0, false);
    add(OLD, NEWER);
    assert_state(OLD, false, NEWER, false);
    remove_one(OLD, NEWER);
    remove_one(OLD, NEWER); /* of a handle that was opened before anybody counted */
    assert_state(OLD, false, 0, false);
}

/* A worker dies before its answer, and the next one gives another: the handle reads that. */
static void test_another_worker_answers_with_another_version(void **state)
{
    struct reopen next = REOPEN_INIT(&kept, 2);
    (void)state;
    add(OLD, NEWER);
    reopen_add(&next, request | FUSE_UNIQUE_RESEND, OLD, NEWER);
    assert_state(OLD, false, NEWER, false);
    reopen_add(&next, request | FUSE_UNIQUE_RESEND, OLD, NEWER + 1);
    assert_state(OLD, false, NEWER + 1, false);
    /* What one of its own threads has answered stays as it was. */
    reopen_add(&next, request | FUSE_UNIQUE_RESEND, OLD, NEWER + 2);
    assert_state(OLD, false, NEWER + 1, false);
    remove_one(OLD, NEWER + 1);
    assert_state(OLD, false, 0, false);

    add(OLD, OLD);
    reopen_add(&next, request | FUSE_UNIQUE_RESEND, OLD, NEWER);
    assert_state(OLD, false, NEWER, false);
    remove_one(OLD, NEWER);
    assert_state(OLD, false, 0, false);
}

/* More inodes than there is room for: those that can't be counted count as held. */
static void test_a_full_table(void **state)
{
    const uint64_t count = 4 * REOPEN_BUCKETS * REOPEN_IN_BUCKET;
    (void)state;
    for (uint64_t ino = 100; ino < 100 + count; ino++)
        add(ino, ino);
    for (uint64_t ino = 100; ino < 100 + count; ino++)
        assert_true(reopen_state(&reopen, ino).own);
    for (uint64_t ino = 100; ino < 100 + count; ino++)
        remove_one(ino, ino);
    for (uint64_t ino = 100; ino < 100 + count; ino++)
        assert_state(ino, false, 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_current_is_opened, clear),
        cmocka_unit_test_setup(test_without_a_path, clear),
        cmocka_unit_test_setup(test_with_a_path, clear),
        cmocka_unit_test_setup(test_overtaken_twice, clear),
        cmocka_unit_test_setup(test_threads_are_told_apart, clear),
        cmocka_unit_test_setup(test_a_request_gets_the_same_answer_again, clear),
        cmocka_unit_test_setup(test_handles_are_counted, clear),
        cmocka_unit_test_setup(test_another_worker_answers_with_another_version, clear),
        cmocka_unit_test_setup(test_a_full_table, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
