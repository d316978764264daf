/*
 * Serving: FUSE requests on one side, the tree on the other. Unprivileged: it gets a device
 * descriptor and an unlocked store, and makes no mount. It remembers nothing of a request once that
 * is answered, not even lookups: every number it gives out means the same to the next daemon.
 */
#ifndef FS_SERVE_H
#define FS_SERVE_H

#include "changes.h"
#include "handoff.h"
#include "reads.h"
#include "store.h"

#include <stdbool.h>

struct serve_options {
    unsigned workers;
    int notifier;        /* the socket to it, */
    struct reads *reads; /* outlives it, as does … */
    struct callers *callers;
    bool top_is_root; /* see tree.h */
    bool direct_io;
    bool no_open; /* opens are not answered at all, so that what is cached is read without us */
    bool debug;
    const char *subdir; /* NULL: all of the store */
};

struct serve;

enum serve_result {
    SERVE_STARTED,
    SERVE_FAILED,      /* one line on standard error says why */
    SERVE_CANT_RESUME, /* this kernel can't send again what a former process has left unanswered */
};

/*
 * Begin to answer requests from `device_fd` (a copy is taken), in threads of its own. The store
 * must be loaded and outlive it. The first process of a session takes the kernel's
 * INIT request and keeps it in `kept`; those after it replay it, and have the kernel send again
 * what was left unanswered.
 */
enum serve_result serve_start(struct store *store, int device_fd, struct kept *kept,
                              const struct serve_options *options, struct serve **ret_serve);

/* Readable once the kernel has ended the session (or it failed). */
int serve_ended_fd(const struct serve *serve);

/*
 * Have the kernel send again what was not answered, also what this process is about to answer: that
 * is done a second time, and changes nothing. False where the kernel can't (before 6.9).
 */
bool serve_resend(struct serve *serve);

/*
 * Have every name that `changes` speaks of show its present state, and what the kernel has cached
 * of the former one dropped. The store must hold names (store_hold_names()). `missed`: the kernel
 * may not have heard of earlier changes; so every name is looked up again when it is next used.
 * Waits for the notifier, and in seldom cases for a directory's lock: never call it from a thread
 * that answers requests, nor under a lock. False when `stop_fd` has become readable before all was
 * done.
 */
bool serve_changes(struct serve *serve, struct store_changes *changes, bool missed, int stop_fd);

/*
 * Have the kernel drop what it has cached of those versions of the secrets in `changes` that may
 * not be given out any more, from under open descriptors and mappings too. serve_changes() does so
 * itself. Waits for reads under way: never call it from a thread that answers requests, nor under a
 * lock.
 */
void serve_cut_off(struct serve *serve, const struct store_changes *changes);

/* Answer what has been begun, end the threads, release everything. False if the session had failed.
 */
bool serve_stop(struct serve *serve);

#endif
