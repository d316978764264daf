/*
 * Following a store: what other processes commit, what expires, and names that are shown one by
 * one. For a process that holds a loaded store for long; the rest is in store.h.
 *
 * Threads: every function of "Following" may be called by several threads at once, as those of
 * "Asking" in store.h.
 */
#ifndef STORE_CHANGES_H
#define STORE_CHANGES_H

#include "store.h"

/* ---- Following ----------------------------------------------------------- */

/* What happened to one node between two verified states; several flags may be set. */
enum store_change_kind {
    STORE_CHANGED_CREATED = 1 << 0, /* it is new, or was restored, at new_parent */
    STORE_CHANGED_REMOVED = 1 << 1, /* it is gone from old_parent/name */
    STORE_CHANGED_MOVED = 1 << 2,   /* from old_parent/name to new_parent */
    STORE_CHANGED_VERSION = 1 << 3, /* old_version was current, new_version is */
    STORE_CHANGED_POLICY = 1 << 4,  /* owner, group, mode, ACL, revocation, expiry, labels … */
};

struct store_change {
    unsigned kinds; /* of enum store_change_kind */
    enum store_kind kind;
    uint64_t node;
    uint64_t old_parent;
    uint64_t new_parent;
    uint64_t old_version;
    uint64_t new_version;
    char *name; /* in old_parent, or in new_parent for created ones */
};

struct store_changes {
    struct store_change *items;
    size_t count;
    size_t capacity;
};

#define STORE_CHANGES_INIT \
    {                      \
        NULL, 0, 0         \
    }

void store_changes_release(struct store_changes *changes);

/*
 * Apply what has been committed since the last load or refresh, after checking it against the new
 * root record. On failure the state that was verified last stays in use, unless store_is_stale().
 * out:    ret_changes  what became different; caller owns; NULL if nobody asks
 * errors: INTEGRITY, BUSY, IO, NO_MEMORY
 */
STORE_CHECKED enum store_err store_refresh(struct store *store, struct store_changes *ret_changes);

/* Whether a change was applied halfway, as when memory runs out: everything is refused until
 * store_load() has succeeded. */
bool store_is_stale(struct store *store);

/*
 * What has changed since `generation` as far as the present rows tell, for caches that outlived the
 * process that filled them: every node written since, as REMOVED or as VERSION and POLICY. Where a
 * node was before a move, and what was purged, no row tells. out:    ret_changes  caller owns
 */
STORE_CHECKED enum store_err store_changed_since(struct store *store, uint64_t generation,
                                                 struct store_changes *ret_changes);

/*
 * When the next secret expires whose expiry store_take_expired() has not told yet; INT64_MAX if
 * none does. Constant time.
 */
int64_t store_next_expiry(struct store *store);

/*
 * Tell the secrets that have expired by `now_ns`, each once and as POLICY, for caches of what was
 * read before; after loading, that is all that have ever expired. store_read() itself goes by the
 * clock alone. out:    ret_changes  caller owns errors: NO_MEMORY; the rest is told the next time
 */
STORE_CHECKED enum store_err store_take_expired(struct store *store, int64_t now_ns,
                                                struct store_changes *ret_changes);

/* Have every expiry told once more: the clock was set, so that some may be still to come. */
void store_expire_again(struct store *store);

/*
 * A descriptor that becomes readable when the store's files change; it belongs to the store. After
 * each commit, also of a writer that was killed, it becomes readable once more.
 * errors: IO, NO_MEMORY
 */
STORE_CHECKED enum store_err store_watch(struct store *store, int *ret_fd);

/* Take what is readable off the descriptor; true when a refresh is due. */
bool store_watch_drain(struct store *store);

/* ---- Showing ------------------------------------------------------------- */

/*
 * For a follower whose names change one by one, each at a moment of its own. From this call on
 * store_refresh() leaves names as they are: to store_lookup() and store_list() a changed secret
 * keeps its version, and what is new, moved or restored has no name, until store_show(). An id
 * finds its node or version as ever. Versions and directories from id `first` on, which
 * store_next_id() gave at an earlier time, are held at once, so that names are again as they were
 * at that time.
 */
void store_hold_names(struct store *store, uint64_t first);

/* The lowest id that has not been given out yet. */
uint64_t store_next_id(struct store *store);

/* Whether the name of `node` does not show its present state yet. */
bool store_is_held(struct store *store, uint64_t node);

/*
 * Let `name` in `directory` show its present state, which is `id`: the current version of a secret,
 * or a directory. NULL: whatever its name, and wherever it is. Does nothing where it is shown
 * already. errors: NOT_FOUND if that is not what `name` is to show
 */
STORE_CHECKED enum store_err store_show(struct store *store, uint64_t id, uint64_t directory,
                                        const char *name);

#endif
