/*
 * The supervisor's side of the worker and the notifier: starting them, and starting them again.
 * Parses no request and no record; it holds the device open, so that requests wait while there is
 * no worker.
 */
#ifndef FS_SUPERVISOR_H
#define FS_SUPERVISOR_H

#include "handoff.h"
#include "reads_file.h"

#include <stdbool.h>
#include <sys/types.h>

struct supervisor {
    struct handoff handoff;  /* without the key */
    struct secbuf *root_key; /* owned by the caller, like what it points to */
    struct secbuf
        other_key; /* likewise opens the store, or did so: one of them at a rekey; empty */
    bool rekeying; /* there is to be no worker until it is over */
    int device_fd; /* borrowed from the mount */
    int anchor_fd; /* the same for all workers, so that none knows less than the one before */
    bool anchor_in_memory;   /* no writer knows of it, so a rekey does not seal it anew */
    int other_anchor_fd;     /* the one that goes with other_key then; -1 */
    struct reads_file reads; /* the same for all workers, too */
    int journal_fd;          /* for copies of its lines; -1: there are none */
    int kept_fd;
    struct kept *kept;
    int executable_fd; /* what workers run, whatever is at its path by now */
    char executable[PATH_MAX];
    int socket;        /* to the worker; -1 while there is none */
    pid_t pid;         /* 0 while there is none */
    unsigned failures; /* workers in a row that did not last */
    unsigned restarts; /* workers that had to be replaced */
    int64_t started_ms;
    bool serving;       /* it has said so */
    bool hung_up;       /* its end of the socket is closed: it has ended, or is about to */
    unsigned lingering; /* former workers of which a thread has not ended yet */
    bool resend;        /* it is to have requests sent again */
    int64_t resent_ms;  /* and was told to do so last */
    int64_t asked_ms;   /* when it was last asked whether it is well, */
    int64_t heard_ms;   /* and when it last said anything */
    int64_t tended_ms;

    int resolver_sockets[2]; /* the worker's end and the resolver's, the same for all of them */
    int private_fd;          /* what the notifier works on; -1 once there is to be none */
    int notifier_sockets[2]; /* the worker's end and the notifier's, the same for all of them */
    pid_t notifier_pid;      /* 0 while there is none */
    int64_t notifier_started_ms;
};

#define SUPERVISOR_INIT                                                                       \
    {                                                                                         \
        .device_fd = -1, .anchor_fd = -1, .other_anchor_fd = -1, .reads = {.fd = -1},         \
        .journal_fd = -1, .kept_fd = -1, .executable_fd = -1, .socket = -1, .private_fd = -1, \
        .resolver_sockets = {-1, -1}, .notifier_sockets = {                                   \
            -1,                                                                               \
            -1                                                                                \
        }                                                                                     \
    }

/* Both return false after one line on standard error. */
bool supervisor_init(struct supervisor *supervisor);
bool supervisor_start_worker(struct supervisor *supervisor);

/*
 * Wait until the worker serves, for `timeout_ms` at most (-1: as long as it takes). False when it
 * has ended instead, or was killed for taking too long: then *ret_status is its exit status.
 */
bool supervisor_wait_serving(struct supervisor *supervisor, int timeout_ms, int *ret_status);

/*
 * Replace the worker by one from the executable that is at our path now. If that doesn't serve in
 * time, the one from before is started again. Requests wait meanwhile. Returns 0; ENOEXEC if it did
 * not serve; or the errno with which the executable could not be opened. In any case there may be
 * no worker afterwards: supervisor_has_worker().
 */
int supervisor_upgrade(struct supervisor *supervisor);
bool supervisor_has_worker(const struct supervisor *supervisor);

/*
 * A rekey is about to be committed: have no worker until it is over, so that nobody reads what
 * can't be opened. Then one is started with `new_key` if that is `committed`, else with `root_key`;
 * or with the other one where that does not open the store. Both are copied. An anchor in memory
 * begins anew with the new key, which opens nothing that is older. Returns 0 or an errno.
 */
int supervisor_begin_rekey(struct supervisor *supervisor, const unsigned char *root_key,
                           const unsigned char *new_key);
void supervisor_end_rekey(struct supervisor *supervisor, bool committed);

/*
 * Collect what has ended. True if the worker has, with its wait status. Ask now and then, too: the
 * signal comes only when the last of a worker's threads has ended, which may have to wait for the
 * next worker.
 */
#define SUPERVISOR_LOOK_MS 100
bool supervisor_reap(struct supervisor *supervisor, int *ret_wait_status);

/* Readable when the worker has said something, which supervisor_tend() takes; -1: nobody will. */
int supervisor_worker_fd(const struct supervisor *supervisor);

/*
 * What is due every SUPERVISOR_LOOK_MS: ask the worker whether it is well, kill it when it has not
 * answered for five seconds, start a notifier where there is to be one and is none. Returns whether
 * the worker has just said that it is well.
 */
bool supervisor_tend(struct supervisor *supervisor);

/* Have a notifier from here on, working on the private mount `private_fd` (borrowed). */
void supervisor_begin_notifier(struct supervisor *supervisor, int private_fd);

/* Have none any more, so that the private mount can go. */
void supervisor_end_notifier(struct supervisor *supervisor);

/* Record reads in the file that is at the record's name now; it is made where there is none. */
void supervisor_reopen_reads(struct supervisor *supervisor);

/* How long to wait before the next worker: nothing at first, up to a second when they keep dying.
 */
int supervisor_delay_ms(const struct supervisor *supervisor);

/* Ask the worker to end and collect it; it is killed if it takes longer than five seconds. */
void supervisor_stop_worker(struct supervisor *supervisor);

/* Wait for the end of every process that was started, `timeout_ms` at most. One that waits in the
 * kernel for an answer ends with it, or with the connection: mount_abort(). */
bool supervisor_wait_ended(struct supervisor *supervisor, int timeout_ms);

void supervisor_release(struct supervisor *supervisor);

#endif
