/*
 * Following: a thread that waits for commits and for secrets to expire, refreshes the store, and
 * has the kernel told.
 */
#ifndef FS_FOLLOW_H
#define FS_FOLLOW_H

#include "handoff.h"
#include "serve.h"
#include "store.h"

#include <stdbool.h>

struct follow;

/*
 * `kept->applied` says what the kernel has been told; where the store is ahead of it, a former
 * process died before it could tell, and the kernel is told first. `watch_fd` comes from
 * store_watch(), called before store_load() so that no commit falls between. Returns false after
 * one line on standard error. `store`, `serve` and `reads` must outlive it.
 */
bool follow_start(struct store *store, struct serve *serve, struct reads *reads, struct kept *kept,
                  int watch_fd, struct follow **ret_follow);

/* End the thread. NULL is allowed. */
void follow_stop(struct follow *follow);

#endif
