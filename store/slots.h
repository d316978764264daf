/*
 * Key slots: the ways to unlock a store, told, added and taken away. Part of the public API, see
 * store.h.
 *
 * A slot that is taken away no longer opens the store's file. A copy made before still opens with
 * it, and so does any file under the same root key into which somebody puts the old slot back:
 * until a rekey, whoever had the slot may have kept the root key.
 */
#ifndef STORE_SLOTS_H
#define STORE_SLOTS_H

#include "store.h"

#define STORE_SLOTS_MAX 16

#define STORE_COMMAND_MAX 1024

struct store_slot {
    uint64_t id; /* from 1; never that of another slot there is */
    enum store_slot_kind kind;
    unsigned char recipient[STORE_KEY_BYTES]; /* recipient: the public key; else zeros */
    char command[STORE_COMMAND_MAX + 1];      /* command: its path when it was added; else "" */
};

/*
 * What a key slot is made for. A recipient's has no secret: who makes it need not be able to open
 * it.
 */
struct store_new_slot {
    struct store_credential credential;
    const unsigned char *recipient; /* recipient: the public key, STORE_KEY_BYTES */
    const char *command;            /* command: an absolute path, for people; never run from here */
};

/* store_create() with a key slot of any kind. */
STORE_CHECKED enum store_err store_create_for(const char *path, const struct store_new_slot *slot);

/*
 * The same, and have `prepare` called with the store when it has its keys and nothing is committed
 * yet, so that this can be recorded: audit_use(). What it returns other than STORE_OK is the error;
 * then there is no store.
 */
typedef enum store_err store_prepare_fn(void *arg, struct store *store);
STORE_CHECKED enum store_err store_create_with(const char *path, const struct store_new_slot *slot,
                                               store_prepare_fn *prepare, void *arg);

/*
 * The key slots, in the order of their ids. Before store_load() they are what the file says, which
 * nobody has verified.
 * out:    ret_slots  *ret_count of them are set
 * thread: as the section "Asking" of store.h
 */
void store_list_slots(struct store *store, struct store_slot ret_slots[static STORE_SLOTS_MAX],
                      size_t *ret_count);

/*
 * Add a key slot, inside a transaction. A passphrase takes as long as in
 * store_create().
 * in:     root_key  the store's own, from store_root_key()
 * out:    ret_id    the new slot's: one more than the highest there is
 * errors: LIMIT (STORE_SLOTS_MAX are there), INVALID (outside a transaction, a bad credential,
 *         no such public key, another root key), NO_MEMORY, MEMORY_LOCK, IO …
 */
STORE_CHECKED enum store_err store_add_slot(struct store *store, const struct secbuf *root_key,
                                            const struct store_new_slot *slot, uint64_t *ret_id);

/*
 * Take a key slot away, inside a transaction. The last one stays.
 * errors: NOT_FOUND, INVALID (outside a transaction, the last one), IO …
 */
STORE_CHECKED enum store_err store_remove_slot(struct store *store, uint64_t id);

#endif
