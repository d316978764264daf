/*
 * The threads that take requests off the device, and a record of what each is at. The record is in
 * memory that outlives the process, so that a request which kills one worker after the other is
 * found out and answered with EIO.
 */
#ifndef FS_LOOP_H
#define FS_LOOP_H

#include "handoff.h"

#include <linux/fuse.h>
#include <stdbool.h>

#ifndef FUSE_UNIQUE_RESEND /* Linux 6.9 */
#define FUSE_UNIQUE_RESEND (1ULL << 63)
#endif

struct fuse_session;
struct loop;

#define LOOP_DEATHS_MAX 5    /* a request that as many workers died at is not tried again */
#define LOOP_OVERDUE_MS 5000 /* a request takes no longer, unless its thread is stuck */

/*
 * Note what a former worker was at when it died. Call it once, before loop_start(); at most
 * KEPT_TASKS requests are remembered.
 */
void loop_note_deaths(struct kept *kept);

/* Whether `request` has been the death of LOOP_DEATHS_MAX workers. */
bool loop_is_deadly(const struct kept *kept, uint64_t request);

/* Whether a thread has been at one request for longer than LOOP_OVERDUE_MS. */
bool loop_is_stuck(const struct kept *kept, int64_t now_ms);

/*
 * Start `count` (1 to KEPT_TASKS) threads, which hand requests to `session`. NULL with errno. All
 * pointers must outlive the loop.
 */
struct loop *loop_start(struct fuse_session *session, int device_fd, struct kept *kept,
                        unsigned count);

/* Readable once the kernel has ended the session, or reading from the device has failed. */
int loop_ended_fd(const struct loop *loop);

/* The number of the request that this thread is at, with FUSE_UNIQUE_RESEND if it was sent again.
 */
uint64_t loop_request(void);

/* Answer what has been begun, end the threads, release everything. False if reading had failed. */
bool loop_stop(struct loop *loop);

#endif
