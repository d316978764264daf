/*
 * The record of reads (store/audit.h), the worker's part: what is answered is on record before.
 *
 * What outlives a worker is kept: a request that was recorded and not answered comes again to the
 * next one, and is not recorded twice.
 */
#ifndef FS_READS_H
#define FS_READS_H

#include "audit.h"
#include "callers.h"
#include "handoff.h"

struct reads;

struct reads_options {
    bool none;     /* there is no record: every function does nothing */
    bool sync;     /* make each line durable before its answer, not only within a second */
    bool optional; /* answer, too, what can't be recorded, and tell later how much that was */
    struct audit_journal *journal; /* gets copies, or NULL; must outlive the reads */
};

/*
 * Begin to record in the open file `fd` (taken over; -1: there is none yet, see reads_use()), with
 * a thread that makes it durable. All pointers must outlive it. NULL after one line on standard
 * error.
 */
struct reads *reads_start(struct store *store, int fd, struct kept_reads *kept,
                          struct callers *callers, const struct reads_options *options);

/* Go on in another file: taken over. */
void reads_use(struct reads *reads, int fd);

/* What a reader has asked for, and what it is to be told. */
struct reads_note {
    enum audit_event event;
    uint64_t request; /* the number of the request, with FUSE_UNIQUE_RESEND where it is one */
    uint64_t id;      /* the version or directory */
    uint32_t thread;
    uint32_t uid;
    uint32_t gid;
    int error; /* what it will get; 0: what it asked for */
    bool inferred;
};

/* Record it. Returns 0, or EIO where that failed and must not. thread: safe */
int reads_record(struct reads *reads, const struct reads_note *note);

/* Record something of the daemon's own life. */
void reads_tell(struct reads *reads, enum audit_event event, const char *detail);

/* Make everything durable, and end. */
void reads_stop(struct reads *reads);

#endif
