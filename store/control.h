/*
 * How programs talk to the daemons that serve a store on this machine: one request and one reply
 * over a SOCK_SEQPACKET socket. A daemon's socket is CONTROL_FOLDER/UUID.PID and belongs to the
 * owner of the store, so that the kernel lets only them and root connect. Beside it, the symbolic
 * links UUID.PID.mount and UUID.PID.store lead to the mount point and to the store's file.
 */
#ifndef STORE_CONTROL_H
#define STORE_CONTROL_H

#include "audit.h"
#include "identity.h"
#include "store.h"

#include <limits.h>

#define CONTROL_FOLDER "/run/secretfs"
#define CONTROL_VERSION 1
#define CONTROL_WHY_BYTES 160
#define CONTROL_MOUNT_SUFFIX ".mount"
#define CONTROL_STORE_SUFFIX ".store"

enum control_verb {
    CONTROL_STATUS = 1,
    CONTROL_UPGRADE,
    CONTROL_CONFIRM, /* reply once the mount shows `generation` */
    CONTROL_READERS, /* who has read what: a file comes with the reply */
    CONTROL_REKEY,   /* a rekey is about to be committed: see control_rekey_begin() */
};

struct control_request {
    uint32_t version; /* CONTROL_VERSION */
    uint32_t verb;    /* enum control_verb */
    uint64_t generation;
    uint64_t device; /* of the store's file: a copy of a store has daemons of its own */
    uint64_t inode;
};

/* What is sent with CONTROL_REKEY; after the reply, one byte says that it is committed. */
#define CONTROL_COMMITTED 'C'
struct control_rekey_request {
    struct control_request request;
    unsigned char root_key[STORE_KEY_BYTES]; /* that opens the store now, */
    unsigned char new_key[STORE_KEY_BYTES];  /* and that will do so */
};

/* What a daemon counts from its start on: opens by how they were answered. */
enum control_count {
    CONTROL_OPENS,   /* with the value */
    CONTROL_DENIED,  /* refused, by the kernel or a rule */
    CONTROL_REVOKED, /* refused, as the version is revoked, */
    CONTROL_EXPIRED, /* or its time over */
    CONTROL_FAILED,  /* for another reason, a record that can't be written among them */
    CONTROL_COUNTS
};

/* Opens by how long the daemon took: up to so many microseconds; the last, longer than all. */
#define CONTROL_LATENCIES 12
extern const uint32_t control_latency_us[CONTROL_LATENCIES - 1];

struct control_reply {
    uint32_t version;
    int32_t error; /* 0, or the errno that the request failed with */
    uint32_t pid;
    uint32_t restarts;   /* workers that had to be replaced */
    uint64_t generation; /* of the store, that the mount shows */
    char mountpoint[PATH_MAX];
    int32_t degraded;         /* 0, or the enum store_err for which it does not follow the store */
    int64_t degraded_since_s; /* CLOCK_REALTIME */
    char degraded_why[CONTROL_WHY_BYTES];
    uint64_t counts[CONTROL_COUNTS];
    uint64_t latencies[CONTROL_LATENCIES];
    uint64_t latency_ns;          /* of all together */
    uint64_t unrecorded;          /* reads that were answered and are not on record */
    char record[PATH_MAX];        /* as audit_file_place() tells it; "" for none */
    struct audit_head record_end; /* as the last line of the daemon's has made or found it */
};

/*
 * The file that comes with the reply to CONTROL_READERS, a memory of the daemon's that it gives
 * away: this head, and then `count` of struct control_reader, each a process that has opened a
 * version, as one user.
 */
struct control_readers {
    uint64_t device;    /* st_dev of the files that the mount shows; 0: not known */
    int64_t since_ns;   /* the record begins then */
    uint64_t forgotten; /* processes that had ended, of which the record is too full to tell, */
    uint64_t missed;    /* and what it doesn't tell of others: processes and opens */
    uint32_t count;
    uint32_t reader_bytes; /* sizeof(struct control_reader) */
};

#define CONTROL_READERS_MAX 4096

struct control_reader {
    uint64_t version; /* its id */
    uint64_t count;   /* of opens */
    int64_t first_ns; /* CLOCK_REALTIME */
    int64_t last_ns;
    uint32_t uid;
    uint32_t known; /* 0: it had ended before it could be looked at; `who` has no more than a pid,
                       the thread's */
    struct identity who;
};

/* The beginning of the names of the sockets of a store's daemons: its uuid in hexadecimal, and a
 * dot. */
#define CONTROL_PREFIX_BYTES (2 * STORE_UUID_BYTES + 1)
void control_prefix(const unsigned char uuid[static STORE_UUID_BYTES],
                    char ret_prefix[static CONTROL_PREFIX_BYTES + 1]);

/* The address of the socket with this name; false if it is too long for one. */
struct sockaddr_un;
bool control_address(const char *name, struct sockaddr_un *ret_address);

/* Whether the file at `path` is the one that the request is about. */
bool control_is_about(const struct control_request *request, const char *path);

/*
 * Ask every daemon that serves the file of `store`, all at once, and call `visit` with each one's
 * reply. One that has ended, or ends meanwhile, is left out; for one that does not reply in
 * `timeout_ms`, or that can't be asked, the reply is made up, with ETIMEDOUT, EACCES or the like.
 * in:     verb, generation  the request
 * out:    ret_count  how many there are
 * errors: IO
 */
typedef void control_visit_fn(void *arg, const struct control_reply *reply);
STORE_CHECKED enum store_err control_ask(const struct store *store, enum control_verb verb,
                                         uint64_t generation, int timeout_ms,
                                         control_visit_fn *visit, void *arg, size_t *ret_count);

/* The same for a store that can't be opened, whose file is at `path`. */
STORE_CHECKED enum store_err control_ask_at(const char *path, enum control_verb verb,
                                            int timeout_ms, control_visit_fn *visit, void *arg,
                                            size_t *ret_count);

/*
 * The same for CONTROL_READERS: `visit` gets each daemon's reply with its readers, which live for
 * the call only; `head` is NULL where the reply has an error.
 */
typedef void control_readers_fn(void *arg, const struct control_reply *reply,
                                const struct control_readers *head,
                                const struct control_reader *readers);
STORE_CHECKED enum store_err control_ask_readers(const struct store *store, int timeout_ms,
                                                 control_readers_fn *visit, void *arg,
                                                 size_t *ret_count);

/*
 * Have every daemon that serves the file of `store` ready for a rekey: each stops reading from the
 * store, lets its readers wait, and is told both root keys, the present and the new one. When
 * control_rekey_end() is called, or this process ends, it goes on with whichever key opens the
 * store then; it tries the new one first if it was told that the rekey is `committed`. in: visit as
 * in control_ask(); a reply with an error: this daemon is not ready out:    ret_rekey
 * control_rekey_end(), whatever the replies were errors: IO, NO_MEMORY, MEMORY_LOCK
 */
struct control_rekey;
STORE_CHECKED enum store_err control_rekey_begin(const struct store *store,
                                                 const struct secbuf *root_key,
                                                 const struct secbuf *new_key, int timeout_ms,
                                                 control_visit_fn *visit, void *arg,
                                                 struct control_rekey **ret_rekey);
void control_rekey_end(struct control_rekey *rekey, bool committed);

#endif
