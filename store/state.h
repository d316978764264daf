/*
 * The store handle, shared by the modules that make up the public API: store.c (opening and
 * asking), load.c (loading), feed.c (following) and write.c (changing). Private.
 *
 * Lock order: `db_lock`, then `lock`. `lock` guards index, root and slots; readers take it shared
 * and only while they look something up. `db_lock` guards the connection.
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "anchor.h"
#include "anchor_slots.h"
#include "audit_change.h"
#include "changes.h"
#include "db.h"
#include "index.h"
#include "record.h"
#include "seal.h"
#include "store.h"

#include <pthread.h>

struct slots {
    struct keyslot items[KEYSLOT_MAX];
    uint64_t ids[KEYSLOT_MAX];
    uint32_t count;
    struct multiset hash; /* over their rows; only once there are keys */
};

/* What an anchor held when it was read. */
struct anchor_seen {
    enum anchor_content content;
    struct anchor_slot slot; /* all zero where none is valid */
    unsigned number;         /* where it is; the other is written next */
};

/* Since when the store was found locked by others, by one turn at the connection after another. */
struct patience {
    bool locked;      /* the last turn ended so … */
    int64_t last_ms;  /* … at this time of CLOCK_MONOTONIC */
    int64_t since_ms; /* when the first of them began, or the present turn */
};

struct store {
    struct db *db;
    unsigned char uuid[STORE_UUID_BYTES];
    struct seal_keys keys;
    struct slots slots;
    struct root_record root; /* the one that index and slots were verified against */
    struct index *index;     /* NULL until loaded */
    pthread_rwlock_t lock;
    pthread_mutex_t db_lock;
    int watch_fd;             /* -1 until asked for */
    bool follows;             /* opened with STORE_FOLLOW */
    struct patience patience; /* under db_lock */

    struct anchor_file anchor;
    struct anchor_seen seen; /* before the state at hand was read; later it may be ahead of that */
    bool anchored;           /* what contradicts the anchor is refused */
    bool anchor_late;        /* it could not be advanced */

    enum store_err stale;        /* not 0: the index is not what the file says, and why */
    bool writing;                /* between store_begin() and store_commit() */
    bool changed;                /* the transaction has written a row */
    bool purged;                 /* … that destroys something for good */
    bool failed;                 /* … or has failed to, so that it can't be committed */
    struct root_record to;       /* the root record that the transaction is going to write */
    int64_t now_ns;              /* the transaction's time */
    struct audit_changes audit;  /* what it has changed, for the record */
    store_progress_fn *progress; /* NULL: nobody is told */
    void *progress_arg;
    struct secbuf scratch; /* for the value at hand; locked memory is dear to allocate */
};

/* Tell of long work, each PROGRESS_EVERY steps and of the last one; and that it is over. */
#define PROGRESS_EVERY 256
static inline void progress_tell(const struct store *store, enum store_work work, uint64_t done,
                                 uint64_t total)
{
    if (store->progress && done % PROGRESS_EVERY == 0 && done < total)
        store->progress(store->progress_arg, work, done, total);
}

static inline void progress_over(const struct store *store, enum store_work work)
{
    if (store->progress)
        store->progress(store->progress_arg, work, 1, 1);
}

/* The slots as they stand in the file; with their hash where there are keys. Takes no lock. */
STORE_CHECKED enum store_err slots_read(struct store *store, struct slots *ret_slots);

/* Whether a rekey may have come since the root key was unwrapped, as far as the slots tell: it
 * makes all of them anew. Changes the thread's fault. Takes no lock; call it inside a transaction.
 */
bool slots_may_be_new(struct store *store);

/* Read and open the root record. Takes no lock; call it inside a transaction. */
STORE_CHECKED enum store_err root_read(struct store *store, struct root_record *ret_root);

/* Open and decode the box of a node's row. errors: INTEGRITY */
STORE_CHECKED enum store_err node_open(const struct seal_keys *keys, const struct row *row,
                                       struct node_record *ret_record);

/* Whether the row of an open node is found under its name. errors: INTEGRITY */
STORE_CHECKED enum store_err node_check_lookup(const struct seal_keys *keys,
                                               const struct node_record *record,
                                               const struct row *row);

/* Read a node's record from the row that the index knows; any other is refused. Takes no lock. */
STORE_CHECKED enum store_err node_read(struct store *store, uint64_t id,
                                       struct node_record *ret_record);

/*
 * A turn at the connection: takes db_lock. On a handle that follows, what is done in it waits for
 * locks of other processes only as long as STORE_FOLLOW says. `err` is what came of it.
 */
void turn_begin(struct store *store);
void turn_end(struct store *store, enum store_err err);

/* A handle around `db`, which it owns from here on, also on failure. */
STORE_CHECKED enum store_err store_new(struct db *db, struct store **ret_store);

/* store_load() and store_refresh() for callers that have a transaction open and hold db_lock. */
STORE_CHECKED enum store_err feed_load(struct store *store);
STORE_CHECKED enum store_err feed_apply(struct store *store, struct store_changes *ret_changes);

/* The sum of all row hashes, and the rows by table, that index and slots stand for. */
void feed_total(const struct index *index, const struct slots *slots, struct multiset *ret_sum,
                uint64_t ret_rows[TABLE_END]);

/* Whether such sums are what the root record says. errors: INTEGRITY */
STORE_CHECKED enum store_err feed_compare(const struct root_record *root,
                                          const struct multiset *sum,
                                          const uint64_t rows[TABLE_END]);

/* Read the anchor; call it before the transaction that a state is loaded in. errors: IO */
STORE_CHECKED enum store_err anchor_look(struct store *store);

/* Whether what was read of the anchor lets a state be loaded. errors: ANCHOR. Takes no lock. */
STORE_CHECKED enum store_err anchor_check(const struct store *store,
                                          const struct root_record *root);

/* Advance the anchor after a load or a commit. Call it with no lock held. */
void anchor_loaded(struct store *store);
void anchor_committed(struct store *store);

/*
 * Before a rekey is committed: have the anchor hold the present state under `new_keys` as well, so
 * that it is authentic whether the commit comes or not. Call it with the keys of before, in the
 * transaction. errors: as anchor_advance()
 */
STORE_CHECKED enum store_err anchor_prepare_rekey(struct store *store,
                                                  const struct seal_keys *new_keys);

/* Add a copy of `change`, with a copy of `name`. errors: NO_MEMORY */
STORE_CHECKED enum store_err changes_add(struct store_changes *changes, struct store_change change,
                                         const char *name);

/* Whether the index may answer questions; asked under the lock. */
STORE_CHECKED enum store_err store_usable(const struct store *store);

/* What an id names: a node, or a node and one of its versions. errors: NOT_FOUND. Takes no lock. */
STORE_CHECKED enum store_err store_find_id(const struct store *store, uint64_t id,
                                           const struct index_node **ret_node,
                                           const struct index_version **ret_version);

/*
 * Find the node of a path; where it is missing but its directory exists, *ret_node is NULL.
 * out:    ret_parent  the directory; NULL for the root itself
 *         ret_name    the last component, in `path`; *ret_name_len its length
 * errors: NOT_FOUND (directory), NOT_DIRECTORY, NAME. Takes no lock.
 */
STORE_CHECKED enum store_err path_find(const struct index *index, const char *path,
                                       const struct index_node **ret_parent, const char **ret_name,
                                       size_t *ret_name_len, const struct index_node **ret_node);

/* Note beside the file that a purge is to be finished: store_compact(). */
void compact_mark(const struct store *store);

/* Write the path of a node, deleted ones where they were, to the end of `path`; returns its
 * beginning. Parents that are missing are left out. */
const char *path_of(const struct index *index, const struct index_node *n,
                    char path[STORE_PATH_MAX]);

/* The open record of a version: decrypt row `id` into `ret_value` and check that it is as indexed.
 */
STORE_CHECKED enum store_err version_read(struct store *store, uint64_t id,
                                          struct secbuf *ret_value);

#endif
