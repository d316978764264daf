/*
 * Who has read which version: the supervisor's record, of processes. The worker notes threads
 * (opens.h); which process each is of has to be found out while it lives, so it is looked at as
 * soon as there is somebody new. That is best effort: one that has ended first is only a number.
 *
 * Bounded. Where there is no more room, the record gives up those that have ended, the oldest
 * first, and says how many. Reads /proc, never a file of the mount, whose requests would wait for
 * the worker. Not thread-safe.
 */
#ifndef FS_READERS_H
#define FS_READERS_H

#include "control.h"
#include "opens.h"

struct readers;

/* A record that begins now; NULL when out of memory. readers_free(). */
struct readers *readers_new(void);
void readers_free(struct readers *readers);

/*
 * Take what the worker has noted, if there is anything; somebody new at once, all else 100 ms after
 * the last time. Call it whenever the worker has said something, and every now and then. Returns
 * whether something is left.
 */
bool readers_tend(struct readers *readers, struct opens *opens);

/* Take all of it now. */
void readers_take(struct readers *readers, struct opens *opens);

/* The record as the file that goes with a reply to CONTROL_READERS; -1 with errno. `device`: of the
 * mount. */
int readers_file(const struct readers *readers, const struct opens *opens, uint64_t device);

#endif
