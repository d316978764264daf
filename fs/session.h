/*
 * What the parts of serving share: session.c begins and ends it, serve.c answers requests, notify.c
 * sends notifications. Private.
 */
#ifndef FS_SESSION_H
#define FS_SESSION_H

#include "callers.h"
#include "serve.h"
#include "tree.h"
#include "values.h"

#include <stdatomic.h>
#include <time.h>

struct fuse_lowlevel_ops;
struct fuse_session;
struct loop;

/* The handlers of requests. */
extern const struct fuse_lowlevel_ops serve_operations;

struct serve {
    struct serve_options options;
    struct tree tree;
    struct values values;
    struct reopen reopen;
    struct kept *kept;
    struct callers *callers;
    struct fuse_session *session;
    int device_fd; /* the session's own */
    struct loop *loop;
    bool notifier_silent;    /* it did not answer the last time; the follower's */
    _Atomic time_t reported; /* the second in which a failed read was last logged */
};

/* Note that a version or directory is shown by its name, and all that have lower ids. */
void serve_note_shown(struct serve *serve, uint64_t id);

#endif
