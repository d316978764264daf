/*
 * What is kept of the requests that workers died at, and of threads that are stuck.
 */
#include "helpers.h"
#include "loop.h"

#include <string.h>

/* A worker dies with one thread at `request`. */
static void die_at(struct kept *kept, uint64_t request)
{
    kept->tasks[3].request = request;
    loop_note_deaths(kept);
    assert_int_equal(kept->tasks[3].request, 0);
}

static void test_deadly(void **state)
{
    static struct kept kept;
    (void)state;
    assert_false(loop_is_deadly(&kept, 42));
    for (int i = 1; i < LOOP_DEATHS_MAX; i++) {
        die_at(&kept, 42);
        assert_false(loop_is_deadly(&kept, 42));
    }
    loop_note_deaths(&kept); /* a death while no thread was at anything */
    assert_false(loop_is_deadly(&kept, 42));
    die_at(&kept, 42);
    assert_true(loop_is_deadly(&kept, 42));
    assert_false(loop_is_deadly(&kept, 44));
    assert_false(loop_is_deadly(&kept, 0));
    die_at(&kept, 42); /* it stays so */
    assert_true(loop_is_deadly(&kept, 42));
}

/* All threads are at something; each of their requests is counted. */
static void test_all_threads(void **state)
{
    static struct kept kept;
    (void)state;
    for (int death = 1; death <= LOOP_DEATHS_MAX; death++) {
        for (uint64_t i = 0; i < KEPT_TASKS; i++) {
            assert_false(loop_is_deadly(&kept, 100 + i));
            kept.tasks[i].request = 100 + i;
        }
        loop_note_deaths(&kept);
    }
    for (uint64_t i = 0; i < KEPT_TASKS; i++)
        assert_true(loop_is_deadly(&kept, 100 + i));
}

/* A request that was sent again is with two threads of one worker: that is one death. */
static void test_taken_twice(void **state)
{
    static struct kept kept;
    (void)state;
    for (int death = 1; death < LOOP_DEATHS_MAX; death++) {
        kept.tasks[0].request = kept.tasks[7].request = 42;
        die_at(&kept, 42);
        assert_int_equal(kept.tasks[0].request + kept.tasks[7].request, 0);
    }
    assert_false(loop_is_deadly(&kept, 42));
    die_at(&kept, 42);
    assert_true(loop_is_deadly(&kept, 42));
}

/* More requests than are remembered: those that died more often are, and the deadly one is found
 * among any number of innocent ones. */
static void test_forgetting(void **state)
{
    static struct kept kept;
    (void)state;
    die_at(&kept, 42);
    for (int death = 2; death <= LOOP_DEATHS_MAX; death++) {
        die_at(&kept, 42);
        for (uint64_t i = 0; i < 3 * KEPT_TASKS; i++)
            die_at(&kept, 1000 * (uint64_t)death + i);
    }
    assert_true(loop_is_deadly(&kept, 42));
    for (int death = 2; death <= LOOP_DEATHS_MAX; death++)
        for (uint64_t i = 0; i < 3 * KEPT_TASKS; i++)
            assert_false(loop_is_deadly(&kept, 1000 * (uint64_t)death + i));
}

static void test_stuck(void **state)
{
    static struct kept kept;
    const int64_t now = 1000000;
    (void)state;
    assert_false(loop_is_stuck(&kept, now)); /* since 0, but at nothing */
    kept.tasks[KEPT_TASKS - 1].since_ms = now;
    kept.tasks[KEPT_TASKS - 1].request = 7;
    assert_false(loop_is_stuck(&kept, now));
    assert_false(loop_is_stuck(&kept, now - 10));
    assert_false(loop_is_stuck(&kept, now + LOOP_OVERDUE_MS));
    assert_true(loop_is_stuck(&kept, now + LOOP_OVERDUE_MS + 1));
    kept.tasks[0].since_ms = now + LOOP_OVERDUE_MS; /* others are busy, too */
    kept.tasks[0].request = 9;
    assert_true(loop_is_stuck(&kept, now + LOOP_OVERDUE_MS + 1));
    kept.tasks[KEPT_TASKS - 1].request = 0;
    assert_false(loop_is_stuck(&kept, now + LOOP_OVERDUE_MS + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_deadly),     plain_test(test_all_threads), plain_test(test_taken_twice),
        plain_test(test_forgetting), plain_test(test_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
