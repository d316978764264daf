/*
 * Clocks in one number, and times to come as the functions of pthreads want them. Knows no store.
 */
#ifndef STORE_CLOCK_H
#define STORE_CLOCK_H

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

#endif
