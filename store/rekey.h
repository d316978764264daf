/*
 * Rekey: a new root key, and everything encrypted anew under it.
 */
#ifndef STORE_REKEY_H
#define STORE_REKEY_H

#include "slots.h"

/* A key slot that is to open the store afterwards, and what opens it. */
struct store_rekey_slot {
    uint64_t id; /* its number, which it keeps */
    struct store_new_slot slot;
};

struct store_rekey {
    const struct store_rekey_slot *slots; /* at least one; all other slots go */
    size_t slot_count;

    /* Called when all is written and not committed, with the new root key (for the call only): to
     * be told to whoever has the store open. Its error is store_rekey()'s; may be NULL. */
    enum store_err (*ready)(void *arg, const struct secbuf *root_key);

    void *arg;
};

/*
 * Seal every row under a new random root key, in one transaction and one commit. Killed at any
 * point, the store opens with the old key or with the new one, wholly. Outside a transaction of the
 * caller's; the store is loaded. What the old key can read is left in the write-ahead log until
 * store_compact(). It takes as much disk space as the store does.
 * errors: INVALID (no slot, or a bad credential), INTEGRITY, BUSY, NO_SPACE, IO …; nothing has
 * changed then
 * thread: as all of "Changing" in store.h
 */
STORE_CHECKED enum store_err store_rekey(struct store *store, const struct store_rekey *rekey);

#endif
