/*
 * What the two halves of serving share: serve.c answers requests, notify.c sends notifications.
 * Private.
 */
#ifndef FS_SESSION_H
#define FS_SESSION_H

#include "serve.h"
#include "tree.h"
#include "values.h"

#include <pthread.h>
#include <time.h>

struct fuse_session;

struct serve {
    struct serve_options options;
    struct tree tree;
    struct values values;
    struct fuse_session *session;
    int device_fd;    /* the session's own */
    pthread_t thread; /* runs libfuse's loop, which has workers of its own */
    int ended_fd;
    bool failed;             /* written by `thread`, read after it has ended */
    _Atomic time_t reported; /* the second in which a failed read was last logged */
};

/* Have the kernel send again what a former process has left unanswered. False where it can't
 * (before 6.9). */
bool notify_resend(struct serve *serve);

#endif
