/*
 * The anchor: the last state of a store that was seen, kept outside of it, so that an older copy
 * put in its place is noticed. FORMAT.md, "The anchor".
 *
 * anchor_open() finds the file, anchor_use() gives it to a store, before that is loaded. From then
 * on store_load() refuses a state that is older than the anchor or another of the same generation;
 * store_load() and store_commit() advance it, once what they saw is durable. An anchor that can't
 * be advanced fails neither of them: anchor_is_late() tells.
 */
#ifndef STORE_ANCHOR_H
#define STORE_ANCHOR_H

#include "store.h"

#define ANCHOR_FOLDER "anchor" /* beside the store, where no other is named */
#define ANCHOR_VARIABLE "SECRETFS_ANCHOR"

struct anchor_file {
    int fd;        /* -1: there is none, and none could be made */
    bool writable; /* it can be advanced, not only compared with */
};

/*
 * Open the anchor of the store at `path` with `uuid` in `folder`, and make it, empty, where it is
 * missing and that is possible. NULL is ANCHOR_FOLDER beside the store, which is made as well, for
 * the store's owner; there whatever can't be made or opened is as if it were missing.
 * out:    ret_file  caller owns, or anchor_use()
 * errors: of a named folder NO_STORE (there is none), DENIED, IO … where it can't be read; of both
 *         DENIED where the file is not a regular one of the folder's owner
 */
STORE_CHECKED enum store_err anchor_open(const char *path,
                                         const unsigned char uuid[STORE_UUID_BYTES],
                                         const char *folder, struct anchor_file *ret_file);

/* A copy of `file`, which may be none, in memory: an anchor that can be advanced until its last
 * descriptor is closed. out: ret_file  caller owns. errors: IO, NO_MEMORY */
STORE_CHECKED enum store_err anchor_in_memory(const struct anchor_file *file,
                                              struct anchor_file *ret_file);

/* Hold `store` to the anchor from here on; the store owns the descriptor, which may have been one
 * of a process that is dead by now, but of no other that lives. With `check` a load that
 * contradicts it fails with ANCHOR, else it only serves the functions below. */
void anchor_use(struct store *store, const struct anchor_file *file, bool check);

/* What the loaded state is to the anchor. */
enum anchor_verdict {
    ANCHOR_NONE,    /* there is no anchor yet */
    ANCHOR_SAME,    /* it is the state that was seen last */
    ANCHOR_NEWER,   /* the store has gone on since */
    ANCHOR_OLDER,   /* a later state was seen already */
    ANCHOR_FORKED,  /* another state with its generation was seen */
    ANCHOR_DAMAGED, /* no part of the anchor is authentic */
};

struct anchor_state {
    enum anchor_verdict verdict;
    uint64_t generation; /* that was seen last, and when; 0 for NONE and DAMAGED */
    int64_t seen_ns;
};

/* What the anchor held when the state was loaded. thread: one that loads */
void anchor_compare(struct store *store, struct anchor_state *ret_state);

/*
 * Advance the anchor to the loaded state, after making sure that it is durable. Does nothing where
 * the anchor is there already, or further. Waits for whoever is at it, `wait_ms` at most.
 * errors: DENIED (it can't be written), BUSY, ANCHOR (damaged), IO, NO_SPACE
 */
STORE_CHECKED enum store_err anchor_advance(struct store *store, unsigned wait_ms);

/* Whether the anchor is behind what this store handle has loaded or committed. */
bool anchor_is_late(const struct store *store);

/* A state that was accepted on purpose, as the store's root record keeps it. */
struct anchor_acceptance {
    uint64_t generation; /* of the commit that accepted it; 0: there was none yet */
    uint64_t accepted;   /* the generation of the state that was accepted */
    uint64_t seen;       /* that of the anchor; 0: it was damaged */
    int64_t time_ns;
};

/*
 * Accept the state of the store, which was loaded without `check`, whatever the anchor says: by a
 * commit whose generation and ids are beyond both, which tells of it, and to which the anchor is
 * set. So neither the anchor nor the generation ever goes back, and what was given up stays
 * refused. Does nothing but advance the anchor where it does not contradict. out:    ret_state what
 * the anchor said before errors: DENIED (it can't be written), as store_begin() and store_commit()
 */
STORE_CHECKED enum store_err anchor_accept(struct store *store, struct anchor_state *ret_state);

/* The last acceptance; all zero where there was none. thread: safe */
struct anchor_acceptance anchor_accepted(struct store *store);

#endif
