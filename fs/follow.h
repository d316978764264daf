/*
 * Following: a thread that waits for commits, refreshes the store, and has the kernel told.
 */
#ifndef FS_FOLLOW_H
#define FS_FOLLOW_H

#include "serve.h"
#include "store.h"

#include <stdbool.h>

struct follow;

/*
 * `watch_fd` comes from store_watch(), called before store_load() so that no commit falls between.
 * Returns false after one line on standard error. Both `store` and `serve` must outlive it.
 */
bool follow_start(struct store *store, struct serve *serve, int watch_fd,
                  struct follow **ret_follow);

/* End the thread. NULL is allowed. */
void follow_stop(struct follow *follow);

#endif
