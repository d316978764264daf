/*
 * What was answered, in numbers, for `secretctl metrics`: counted by the worker in memory that
 * outlives it, read by the supervisor.
 */
#ifndef FS_COUNTS_H
#define FS_COUNTS_H

#include "control.h"

#include <stdatomic.h>

struct counts {
    _Atomic uint64_t events[CONTROL_COUNTS];
    _Atomic uint64_t latencies[CONTROL_LATENCIES];
    _Atomic uint64_t latency_ns;
};

/* An open is about to be answered, with `error` or 0, to whoever has asked at `began_ns` of
 * CLOCK_MONOTONIC. thread: safe */
void counts_open(struct counts *counts, int error, int64_t began_ns);

/* The kernel has refused one. thread: safe */
void counts_denied(struct counts *counts);

void counts_tell(const struct counts *counts, struct control_reply *ret_reply);

#endif
