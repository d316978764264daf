/*
 * The buffers of a daemon's answers: used again, wiped in between, and not too many of them kept.
 */
#include "helpers.h"
#include "values.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static struct secbuf filled(struct values *values, size_t len)
{
    struct secbuf buf = values_take(values);
    assert_int_equal(buf.len, 0);
    assert_ok(secbuf_reserve(&buf, len));
    memset(buf.data, 0xa5, buf.capacity);
    buf.len = len;
    return buf;
}

static bool is_zero(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void give(struct values *values, struct secbuf *buf)
{
    values_give(values, buf);
    assert_null(buf->data);
    assert_int_equal(buf->len + buf->capacity, 0);
}

static void test_used_again_and_wiped(void **state)
{
    (void)state;
    struct values values;
    values_init(&values);
    struct secbuf buf = values_take(&values);
    assert_null(buf.data); /* nothing is kept yet */
    assert_int_equal(secbuf_live(), 0);
    buf = filled(&values, 5000);
    unsigned char *data = buf.data;
    give(&values, &buf);
    assert_int_equal(secbuf_live(), 1);
    assert_true(is_zero(data, 5000));
    buf = values_take(&values);
    assert_ptr_equal(buf.data, data);
    assert_int_equal(buf.capacity, 5000);
    assert_int_equal(buf.len, 0);
    assert_true(is_zero(buf.data, 5000));
    assert_null(values_take(&values).data); /* it is ours alone */
    assert_ok(secbuf_reserve(&buf, 100));   /* no allocation for a smaller value */
    assert_ptr_equal(buf.data, data);
    give(&values, &buf);
    values_release(&values);
    assert_int_equal(secbuf_live(), 0);
}

/* What lies beyond `len` may be an earlier, longer value. */
static void test_wiped_beyond_the_length(void **state)
{
    (void)state;
    struct values values;
    values_init(&values);
    struct secbuf buf = filled(&values, 100);
    unsigned char *data = buf.data;
    buf.len = 0;
    give(&values, &buf);
    assert_true(is_zero(data, 100));
    values_release(&values);
}

static void test_large_ones_are_freed(void **state)
{
    (void)state;
    struct values values;
    values_init(&values);
    struct secbuf buf = filled(&values, VALUES_KEPT_BYTES + 1);
    give(&values, &buf);
    assert_int_equal(secbuf_live(), 0);
    assert_null(values_take(&values).data);
    buf = filled(&values, VALUES_KEPT_BYTES);
    give(&values, &buf);
    assert_int_equal(secbuf_live(), 1);
    values_release(&values);
    assert_int_equal(secbuf_live(), 0);
}

static void test_empty_ones_are_not_kept(void **state)
{
    (void)state;
    struct values values;
    struct secbuf buf = SECBUF_INIT;
    values_init(&values);
    give(&values, &buf); /* a request that never got as far as a value */
    assert_int_equal(values.count, 0);
    assert_ok(secbuf_alloc(&buf, 0));
    give(&values, &buf);
    assert_int_equal(values.count, 0);
    assert_int_equal(secbuf_live(), 0);
    values_release(&values);
}

static void test_no_more_than_enough(void **state)
{
    (void)state;
    struct secbuf bufs[VALUES_KEPT + 5];
    unsigned char *data[VALUES_KEPT + 5];
    struct values values;
    size_t count = VALUES_KEPT + 5;

    values_init(&values);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            bufs[i] = filled(&values, 64);
            data[i] = bufs[i].data;
            for (size_t other = 0; other < i; other++)
                assert_ptr_not_equal(data[i], data[other]);
        }
        assert_int_equal(secbuf_live(), count);
        for (size_t i = 0; i < count; i++) {
            give(&values, &bufs[i]);
            assert_int_equal(secbuf_live(),
                             i < VALUES_KEPT ? count : count - (i + 1 - VALUES_KEPT));
        }
        assert_int_equal(secbuf_live(), VALUES_KEPT);
        for (size_t i = 0; i < VALUES_KEPT; i++)
            assert_true(is_zero(data[i], 64));
    }
    values_release(&values);
    assert_int_equal(secbuf_live(), 0);
}

/* ---- Threads --------------------------------------------------------------------------------- */

#define THREADS 24 /* more than are kept */
#define ROUNDS 300

struct worker {
    pthread_t thread;
    struct values *values;
    unsigned char mark;
    unsigned wrong;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (size_t round = 0; round < ROUNDS; round++) {
        struct secbuf buf = values_take(w->values);
        w->wrong += buf.len != 0 || !is_zero(buf.data, buf.capacity);
        if (secbuf_reserve(&buf, 1 + (round * 37 + w->mark) % 300) != STORE_OK) {
            w->wrong++;
            break;
        }
        memset(buf.data, w->mark, buf.capacity);
        sched_yield();
        for (size_t i = 0; i < buf.capacity; i++)
            w->wrong += buf.data[i] != w->mark;
        values_give(w->values, &buf);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct worker workers[THREADS] = {0};
    struct values values;
    unsigned wrong = 0;

    values_init(&values);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].values = &values;
        workers[i].mark = (unsigned char)(i + 1);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        wrong += workers[i].wrong;
    }
    assert_int_equal(wrong, 0);
    assert_in_range(values.count, 1, VALUES_KEPT);
    assert_int_equal(secbuf_live(), values.count);
    values_release(&values);
    assert_int_equal(secbuf_live(), 0);
}

struct blocked {
    pthread_t thread;
    struct values *values;
    struct secbuf buf;
    bool gives;
    atomic_bool done;
};

static void *take_or_give(void *arg)
{
    struct blocked *b = arg;
    if (b->gives)
        values_give(b->values, &b->buf);
    else
        b->buf = values_take(b->values);
    atomic_store(&b->done, true);
    return NULL;
}

/* Taking and giving wait for whoever is at it. */
static void test_lock(void **state)
{
    (void)state;
    const struct timespec a_while = {.tv_nsec = 30000000};
    struct values values;
    struct blocked b = {.values = &values};

    values_init(&values);
    struct secbuf buf = filled(&values, 10);
    give(&values, &buf);
    for (int round = 0; round < 2; round++) {
        b.gives = round == 1;
        atomic_store(&b.done, false);
        assert_int_equal(pthread_mutex_lock(&values.lock), 0);
        int error = pthread_create(&b.thread, NULL, take_or_give, &b);
        nanosleep(&a_while, NULL);
        bool early = atomic_load(&b.done);
        size_t count = values.count;
        pthread_mutex_unlock(&values.lock);
        assert_int_equal(error, 0);
        assert_int_equal(pthread_join(b.thread, NULL), 0);
        assert_false(early);
        assert_int_equal(count, round == 0 ? 1 : 0);
        assert_int_equal(values.count, round);
    }
    values_release(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_used_again_and_wiped),
        plain_test(test_wiped_beyond_the_length),
        plain_test(test_large_ones_are_freed),
        plain_test(test_empty_ones_are_not_kept),
        plain_test(test_no_more_than_enough),
        plain_test(test_threads),
        plain_test(test_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
