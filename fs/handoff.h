/*
 * What the supervisor gives a worker, and what outlives one.
 *
 * A worker is started with eight descriptors: a socket to the supervisor, over which the handoff
 * comes as one message and which ends when the supervisor does; the FUSE device; the memory of
 * struct kept; a socket to the notifier; the store's anchor; a socket to the supervisor's resolver
 * (resolver.h); the record of reads; and a socket for copies of that (audit_journal.h).
 */
#ifndef FS_HANDOFF_H
#define FS_HANDOFF_H

#include "attributes.h"
#include "audit.h"
#include "counts.h"
#include "opens.h"
#include "reopen.h"
#include "secmem.h"
#include "store.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

enum handoff_fd {
    HANDOFF_SOCKET = 3,
    HANDOFF_DEVICE,
    HANDOFF_KEPT,
    HANDOFF_NOTIFIER,
    HANDOFF_ANCHOR,
    HANDOFF_RESOLVER,
    HANDOFF_AUDIT,
    HANDOFF_JOURNAL,
    HANDOFF_END
};

/* The worker's exit statuses beyond those of the program. */
enum { WORKER_ENDED = 0, WORKER_CANT_RESUME = 64 };

/*
 * What goes over the socket afterwards, each a byte: the worker says that it serves; the supervisor
 * asks whether it is well, and the worker answers with the same byte if it is. The supervisor says
 * that a former worker's last thread has ended only now: it may have taken a request with it. The
 * worker says that kept->applied has changed, or that kept->opens has somebody new. With a
 * HANDOFF_RECORD comes a descriptor: the file in which reads are recorded from then on.
 */
enum handoff_word {
    HANDOFF_SERVING = 'S',
    HANDOFF_WELL = 'W',
    HANDOFF_RESEND = 'R',
    HANDOFF_APPLIED = 'A',
    HANDOFF_OPENED = 'O',
    HANDOFF_RECORD = 'F',
};

struct handoff {
    char store[PATH_MAX];
    char subdir[PATH_MAX]; /* empty: the whole store */
    uint32_t uid;          /* the worker's */
    uint32_t gid;
    uint32_t workers;
    bool top_is_root; /* of the superblock: an ordinary mount (mount.h) */
    bool direct_io;
    bool audit_none; /* as struct reads_options */
    bool audit_sync;
    bool audit_optional;
    uint32_t audit_journal; /* enum audit_journal_kind: what HANDOFF_JOURNAL leads to */
    bool debug;
    bool allow_swap;
    bool log_levels; /* as log_set_levels() */
    unsigned char root_key[STORE_KEY_BYTES];
};

/* A request that a thread is at, and since when; 0 when it is at none. */
struct kept_task {
    _Atomic uint64_t request;
    _Atomic int64_t since_ms;
};

/* A request that workers died at, and how many did. */
struct kept_death {
    uint64_t request;
    unsigned count;
};

#define KEPT_TASKS 16

/*
 * A rotation whose watchers of superseded inodes are being told (notify.c): one inode after the
 * other, by descending ids. Each is to be told once, whoever is killed in between.
 */
struct kept_telling {
    _Atomic uint64_t version; /* that has become current; 0: no rotation is under way */
    _Atomic bool again;       /* and was superseded before, so that it may be watched as well */
    _Atomic uint64_t below;   /* inodes from this number on have been told */
    _Atomic uint64_t ino;     /* the one that is being told, or 0 */
    _Atomic bool told;        /* and has been: what is left is to hear that it is closed again */
};

/* Why the worker does not follow the store, if it doesn't (degraded.h). */
struct kept_degraded {
    _Atomic int32_t code;    /* enum store_err; 0: it does */
    _Atomic int64_t since_s; /* CLOCK_REALTIME */
    char why[160];
};

#define KEPT_RECORDED 256
#define KEPT_FLOODS 64

/* A request that was recorded last, or was about to be, and where. */
struct kept_recorded {
    _Atomic uint64_t request; /* 0: none; written last */
    uint64_t id;
    int32_t error;
    struct audit_place place;
};

/* Refusals of the same kind, of which only some get a line of their own. */
struct kept_flood {
    uint64_t id; /* 0: unused */
    int64_t second;
    uint32_t uid;
    uint32_t event;
    uint32_t written; /* in this second */
    uint32_t counted; /* and those that a line is to tell of */
};

/* What reads.c has to know of a former worker. */
struct kept_reads {
    struct audit_head heads[2];  /* the record's end, as last seen, */
    _Atomic uint32_t head;       /* in which of the two: a count of how often it was set */
    _Atomic uint64_t unrecorded; /* what was answered and not recorded */
    _Atomic bool lost;           /* the file is gone: the supervisor is to look for it */
    _Atomic bool ending;         /* the daemon ends, not only this worker */
    _Atomic uint32_t next;
    struct kept_recorded recorded[KEPT_RECORDED];
    struct kept_flood floods[KEPT_FLOODS];
};

/*
 * Shared between the supervisor and its workers, one after the other. It says what the kernel knows
 * already: the INIT request, which it sends once and every worker has to see; the generation that
 * its caches are up to date with, 0 before there is any; the id below which every version is
 * shown by its name (store_hold_names()); who has been told of a rotation; who has opened what;
 * who holds which inode; why the store is not followed; which attributes the kernel has; what was
 * answered, in numbers; and what of all that is on record.
 */
struct kept {
    uint32_t init_bytes;
    unsigned char init[4096];
    _Atomic uint64_t applied;
    _Atomic uint64_t shown;
    _Atomic uint64_t swapped; /* a version whose name is being given to another, or 0 (notify.c) */
    struct kept_degraded degraded;
    _Atomic bool has_notifier; /* while there is a private mount */
    struct kept_telling telling;
    struct kept_task tasks[KEPT_TASKS];
    struct kept_death deaths[KEPT_TASKS];
    struct opens opens;
    struct reopen_kept reopen;
    struct attributes attributes;
    struct counts counts;
    struct kept_reads reads;
};

/* Send `handoff` with the key. Returns false with errno. */
bool handoff_send(int socket, const struct handoff *handoff, const struct secbuf *root_key);

/* Receive it; the key goes into `ret_root_key` (caller owns) and is wiped from `ret_handoff`. */
bool handoff_receive(int socket, struct handoff *ret_handoff, struct secbuf *ret_root_key);

#endif
