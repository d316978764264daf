/*
 * Which threads wait for requests. Requests are made up: a thread that has its turn says what it
 * took, and since when. Also under ThreadSanitizer.
 */
#include "clock.h"
#include "helpers.h"
#include "pool.h"

#include <unistd.h>

#define THREADS 3
#define LONG_NS (100 * 1000)
#define STEPS 1000

/* Whether nobody has a turn that this thread could take. */
static bool none_is_free(struct pool *pool)
{
    int free_turns = -1;

    assert_int_equal(sem_getvalue(&pool->turns, &free_turns), 0);
    return free_turns == 0;
}

static void wait_for_turn(struct pool *pool)
{
    int64_t deadline_ms = clock_now_ms() + 5000;

    while (none_is_free(pool) && clock_now_ms() < deadline_ms)
        usleep(1000);
    assert_false(none_is_free(pool));
}

/* A request that was waited for as long. */
static void take(struct pool_thread *thread, int64_t waited_ns)
{
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);

    assert_true(pool_enter(thread));
    pool_took(thread, now_ns - waited_ns, now_ns);
}

static void answer(struct pool_thread *thread, int64_t waited_ns)
{
    take(thread, waited_ns);
    pool_answered(thread);
}

/* A pool whose first thread has always found the next request there. */
static void start_crowded(struct pool *pool)
{
    assert_int_equal(pool_start(pool, THREADS), 0);
    for (int i = 0; i < STEPS; i++)
        answer(&pool->threads[0], 0);
}

static void test_one_takes_all_that_it_waits_for(void **state)
{
    struct pool pool;
    (void)state;
    assert_int_equal(pool_start(&pool, THREADS), 0);
    for (int i = 0; i < STEPS; i++) {
        answer(&pool.threads[1], LONG_NS);
        answer(&pool.threads[1], 0); /* the release that came meanwhile */
        assert_true(none_is_free(&pool));
    }
    pool_stop(&pool);
}

static void test_more_take_what_is_always_there(void **state)
{
    struct pool pool;
    (void)state;
    start_crowded(&pool);
    for (unsigned t = 1; t < THREADS; t++)
        answer(&pool.threads[t], 0);
    assert_true(none_is_free(&pool)); /* no more turns than threads */
    assert_int_equal(pool.turn_count, THREADS);
    pool_stop(&pool);
}

static void test_fewer_when_there_is_less(void **state)
{
    struct pool pool;
    (void)state;
    start_crowded(&pool);
    for (unsigned t = 1; t < THREADS; t++)
        assert_true(pool_enter(&pool.threads[t]));
    for (int i = 0; i < STEPS; i++)
        for (unsigned t = 0; t < THREADS; t++)
            if (pool.threads[t].takes)
                answer(&pool.threads[t], LONG_NS);
    assert_int_equal(pool.turn_count, 1);
    assert_true(none_is_free(&pool));
    assert_int_equal(pool.threads[0].takes + pool.threads[1].takes + pool.threads[2].takes, 1);
    pool_stop(&pool);
}

static void test_who_waits_lets_another(void **state)
{
    struct pool pool;
    (void)state;
    pool_yield(); /* of no pool, or with no turn: nothing */
    assert_int_equal(pool_start(&pool, THREADS), 0);
    take(&pool.threads[0], 0);
    pool_yield();
    pool_yield();
    answer(&pool.threads[1], 0);
    assert_true(none_is_free(&pool));
    pool_answered(&pool.threads[0]);
    assert_false(pool.threads[0].takes);
    pool_stop(&pool);
}

/* Again and again: the watch rests in between. */
static void test_who_waits_without_a_word_is_found(void **state)
{
    struct pool pool;
    (void)state;
    assert_int_equal(pool_start(&pool, THREADS), 0);
    for (unsigned i = 0; i < 5; i++) {
        take(&pool.threads[i % THREADS], LONG_NS);
        wait_for_turn(&pool);
        pool_answered(&pool.threads[i % THREADS]);
        for (int64_t since_ms = clock_now_ms(); !pool.resting;) {
            usleep(1000);
            assert_true(clock_now_ms() < since_ms + 5000);
        }
    }
    pool_stop(&pool);
}

static void *work(void *arg)
{
    struct pool_thread *thread = arg;

    for (int i = 0; i < STEPS; i++) {
        take(thread, i % 3 == 0 ? LONG_NS : 0);
        if (i % 7 == 0)
            pool_yield();
        pool_answered(thread);
        if (i % 100 == 99) {
            take(thread, 0);
            usleep(2 * POOL_PATIENCE_NS / 1000);
            pool_answered(thread);
        }
        pool_yield();
    }
    return NULL;
}

static void test_each_gets_its_turn(void **state)
{
    struct pool pool;
    pthread_t threads[THREADS];
    (void)state;
    assert_int_equal(pool_start(&pool, THREADS), 0);
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, work, &pool.threads[t]), 0);
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    wait_for_turn(&pool);
    pool_stop(&pool);
}

static void test_one_that_did_not_start_stops(void **state)
{
    struct pool pool = {.count = 0};
    (void)state;
    pool_stop(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_takes_all_that_it_waits_for),
        cmocka_unit_test(test_more_take_what_is_always_there),
        cmocka_unit_test(test_fewer_when_there_is_less),
        cmocka_unit_test(test_who_waits_lets_another),
        cmocka_unit_test(test_who_waits_without_a_word_is_found),
        cmocka_unit_test(test_each_gets_its_turn),
        cmocka_unit_test(test_one_that_did_not_start_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
