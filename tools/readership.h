/*
 * Who has read the versions of a secret and who holds them, put together from what the daemons
 * have recorded and what the processes have open. Prints nothing.
 */
#ifndef TOOLS_READERSHIP_H
#define TOOLS_READERSHIP_H

#include "control.h"
#include "store.h"

/* One process, as one user, and one version. */
struct reader {
    const struct store_version *version;
    struct control_reader
        seen; /* count 0: it holds what it has not opened itself, as far as known */
    bool lives;
    bool open; /* a descriptor */
    bool mapped;
    bool behind; /* it lives, and what it opened last is not the current version */
};

struct readership {
    const struct store_details *details; /* of the secret, borrowed */
    struct reader *items;                /* the newest version first, then who opened it last */
    size_t count;
    size_t capacity;
    uint64_t *devices; /* of the mounts */
    size_t device_count;
    int64_t since_ns;   /* the records of all mounts begin before; 0: there is none */
    uint64_t forgotten; /* as in struct control_readers */
    uint64_t missed;
    size_t unseen; /* processes that we may not look at for what they hold */
};

void readership_release(struct readership *readership);

/* Add what a daemon has recorded. errors: NO_MEMORY */
STORE_CHECKED enum store_err readership_add(struct readership *readership,
                                            const struct control_readers *head,
                                            const struct control_reader *readers);

/* Once all is added: find out who lives, who holds what, and who is behind. errors: NO_MEMORY, IO
 */
STORE_CHECKED enum store_err readership_complete(struct readership *readership);

/* Whether it holds a version that is not the current one. */
bool reader_holds_older(const struct readership *readership, const struct reader *reader);

#endif
