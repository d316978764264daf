/*
 * What the benchmark's programs share: a store opened as 'secretctl' opens it, and times, kept as
 * counts in classes so that any number of them takes the same room.
 *
 * Every program prints its figures as lines "NAME WORD NUMBER WORD NUMBER ...", all times in
 * nanoseconds; tests/bench/common.py reads them.
 */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include "clock.h"
#include "store.h"

#include <stddef.h>
#include <stdint.h>

_Noreturn void die(const char *what, const char *reason);
void must(enum store_err err, const char *what);

static inline int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* A number from the command line; ends the program where it is none. */
uint64_t number_of(const char *text);

/* A class is 1/256 of a power of two wide, so that what is told of a time is off by 0.2% at most.
 */
#define TIMES_STEPS 256
#define TIMES_CLASSES (TIMES_STEPS * 34) /* up to a quarter of an hour */

struct times {
    uint64_t count;
    int64_t sum;
    int64_t max;
    uint32_t classes[TIMES_CLASSES];
};

/* All zero; ends the program without memory. */
struct times *times_new(void);
void times_add(struct times *times, int64_t ns);
void times_merge(struct times *to, const struct times *from);
/* The time that `percent` of all are no longer than. */
int64_t times_at(const struct times *times, double percent);
void times_print(const char *name, const struct times *times);

/* Open, unlock and load a store, with its anchor; one that is written has its changes on record, in
 * the file beside it, as those of secretctl are. */
struct store *open_store(const char *path, const char *key_file, enum store_access access);

/* One transaction that puts a new random value of `bytes` at each path, and its commit. */
void put_paths(struct store *store, char **paths, size_t count, size_t bytes);

#endif
