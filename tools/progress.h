/*
 * How far long work on the store is, for whoever waits at a terminal: a line on standard error that
 * is drawn again and again, and gone in the end.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include "store.h"

#include <stdbool.h>
#include <stdint.h>

/* All zero before the first work. */
struct progress {
    bool working;
    bool drawn; /* the line is there */
    enum store_work work;
    int64_t begun_ms;
    int64_t drawn_ms;
};

/* Show what `store` tells from now on, where standard error is a terminal; `progress` outlives it.
 */
void progress_show(struct progress *progress, struct store *store);

/*
 * Write the line for work that has taken `ms` until now, as wide as a terminal of `columns` has
 * room for: the bar and the time left go first. Returns its length.
 */
#define PROGRESS_LINE_MAX 256
size_t progress_line(enum store_work work, uint64_t done, uint64_t total, int64_t ms,
                     unsigned columns, char ret_line[PROGRESS_LINE_MAX]);

#endif
