/*
 * The thread that keeps the record of readers (readers.h), for the supervisor. Looking at a process
 * in /proc may make us the last to let go of its memory, and of the files that it has mapped, which
 * may wait for a READ under way: the supervisor must not wait for what only a worker can answer.
 */
#ifndef FS_RECORDER_H
#define FS_RECORDER_H

#include "opens.h"

struct recorder;

/* Begin a record of `opens`, which must outlive it. NULL when there is no memory or thread for it;
 * then recorder_wake() and recorder_stop() do nothing. */
struct recorder *recorder_start(struct opens *opens);

/* Take what is new, in the thread. Call it whenever the worker has said something, and every now
 * and then. */
void recorder_wake(struct recorder *recorder);

/*
 * Take all of it now, and return the record as readers_file() does. -1 with errno: ENOMEM where
 * there is no record, ETIMEDOUT where the thread stands still.
 */
int recorder_file(struct recorder *recorder, uint64_t device);

/* End the thread and the record. Waits for a READ under way, if the thread does. */
void recorder_stop(struct recorder *recorder);

#endif
