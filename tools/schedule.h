/*
 * When a secret is due to be rotated, and how that is told.
 *
 * The time of the last rotation is when the current version was made, so a secret that was rolled
 * back has the time of the version that it went back to.
 */
#ifndef TOOLS_SCHEDULE_H
#define TOOLS_SCHEDULE_H

#include "store.h"

#include <jansson.h>

struct schedule {
    struct store_rotation rotation;
    int64_t rotated_ns;
    int64_t due_ns; /* only where rotation.every_s is not 0 */
    bool overdue;   /* `due_ns` is over */
};

/* The schedule of a secret, as it stands now. */
struct schedule schedule_of(const struct store_details *details);

/* Whether anything is set. */
bool schedule_set(const struct schedule *schedule);

/* In one line, as in "every 30d, password:24, due 2026-03-01 14:05"; without a newline. */
void schedule_print(const struct schedule *schedule);

/* The members every (in seconds), generator, rotator, timeout (in seconds), step, version (that it
 * makes), rotated, due, overdue. NULL when out of memory. */
json_t *schedule_json(const struct schedule *schedule);

#endif
