/*
 * Telling, adding and taking away key slots. Rows are written as all others are; what the handle
 * knows of the slots is read again from the file, whose transaction sees them already.
 */
#include "slots.h"
#include "fault.h"
#include "write.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

_Static_assert(STORE_SLOTS_MAX == KEYSLOT_MAX, "as many as a store may have");

static void describe(uint64_t id, const struct keyslot *slot, struct store_slot *ret_slot)
{
    *ret_slot = (struct store_slot){.id = id, .kind = slot->kind};
    memcpy(ret_slot->recipient, slot->recipient, sizeof ret_slot->recipient);
    memcpy(ret_slot->command, slot->command, sizeof ret_slot->command);
}

void store_list_slots(struct store *store, struct store_slot ret_slots[static STORE_SLOTS_MAX],
                      size_t *ret_count)
{
    pthread_rwlock_rdlock(&store->lock);
    for (uint32_t i = 0; i < store->slots.count; i++)
        describe(store->slots.ids[i], &store->slots.items[i], &ret_slots[i]);
    *ret_count = store->slots.count;
    pthread_rwlock_unlock(&store->lock);
}

bool slots_may_be_new(struct store *store)
{
    const struct slots *old = &store->slots;
    struct slots now;

    /* A follower has had the root key for longer than it has had the slots. */
    if (store->follows && store->index == NULL)
        return true;
    if (slots_read(store, &now))
        return false;
    for (uint32_t i = 0; i < now.count && i < old->count; i++)
        if (memcmp(now.items[i].wrapped, old->items[i].wrapped, KEYSLOT_WRAPPED_BYTES) != 0)
            return true;
    return now.count != old->count;
}

/* A slot around another key would let its owner in, and show nothing but a broken store. */
static enum store_err check_root_key(const struct store *store, const struct secbuf *root_key)
{
    struct seal_keys keys = {.keys = SECBUF_INIT};
    enum store_err err = seal_keys_derive(&keys, root_key, store->uuid);

    if (!err && sodium_memcmp(keys.keys.data, store->keys.keys.data, keys.keys.len) != 0)
        err = fault(STORE_ERR_INVALID, "add", "the key slot", "the root key is not the store's");
    seal_keys_release(&keys);
    return err;
}

static enum store_err outside(const char *operation)
{
    return fault(STORE_ERR_INVALID, operation, "the key slot", "outside a transaction");
}

/* They are in ascending order. */
static uint64_t next_slot_id(const struct slots *slots)
{
    return slots->count > 0 ? slots->ids[slots->count - 1] + 1 : 1;
}

enum store_err store_add_slot(struct store *store, const struct secbuf *root_key,
                              const struct store_new_slot *new_slot, uint64_t *ret_id)
{
    struct keyslot slot;
    uint64_t id = next_slot_id(&store->slots);

    if (!store->writing)
        return outside("add");
    if (store->slots.count == KEYSLOT_MAX)
        return fault(STORE_ERR_LIMIT, "add", NULL, "a store has 16 key slots at most");
    enum store_err err = check_root_key(store, root_key);
    if (!err)
        err = keyslot_wrap(store->uuid, id, new_slot, KEYSLOT_DEFAULT_COST, root_key, &slot);
    if (!err)
        err = write_slot(store, id, &slot);
    if (!err)
        err = slots_read(store, &store->slots);
    if (!err)
        audit_note(store, AUDIT_KEY, NULL, 0, "key slot %" PRIu64 " added", id);
    if (!err)
        *ret_id = id;
    return err;
}

enum store_err store_remove_slot(struct store *store, uint64_t id)
{
    bool found = false;

    if (!store->writing)
        return outside("remove");
    for (uint32_t i = 0; i < store->slots.count; i++)
        found |= store->slots.ids[i] == id;
    if (!found)
        return fault(STORE_ERR_NOT_FOUND, "remove", "the key slot", NULL);
    if (store->slots.count == 1)
        return fault(STORE_ERR_INVALID, "remove", NULL,
                     "it is the last one, and nobody could open the store without it");
    audit_note(store, AUDIT_KEY, NULL, 0, "key slot %" PRIu64 " removed", id);
    enum store_err err = write_deletion(store, TABLE_SLOT, id);
    return err ? err : slots_read(store, &store->slots);
}
