/*
 * Clocks in one number, and times to come as the functions of pthreads want them. Knows no store.
 */
#ifndef STORE_CLOCK_H
#define STORE_CLOCK_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_SECOND_NS INT64_C(1000000000)

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * CLOCK_SECOND_NS + t.tv_nsec;
}

/* The time that passes, whatever the date is set to. */
static inline int64_t clock_now_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

/* The time of `clock` in `ms` from now. */
static inline struct timespec clock_after_ms(clockid_t clock, int64_t ms)
{
    int64_t ns = clock_ns(clock) + ms * 1000000;
    return (struct timespec){.tv_sec = ns / CLOCK_SECOND_NS, .tv_nsec = ns % CLOCK_SECOND_NS};
}

/*
 * Take a lock before `deadline_ms` of clock_now_ms(). Returns 0 or ETIMEDOUT. It is given times of
 * the machine's clock, which may be set meanwhile, since ThreadSanitizer doesn't know of locks that
 * go by another.
 */
static inline int clock_lock(pthread_mutex_t *lock, int64_t deadline_ms)
{
    int error = ETIMEDOUT;
    int64_t left_ms;

    while (error == ETIMEDOUT && (left_ms = deadline_ms - clock_now_ms()) > 0) {
        const struct timespec until = clock_after_ms(CLOCK_REALTIME, left_ms);
        error = pthread_mutex_timedlock(lock, &until);
    }
    return error;
}

#endif
