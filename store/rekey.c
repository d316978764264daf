/*
 * See rekey.h. Nodes are taken one by one from the index, read under the old keys and written under
 * the new ones; as rows are only ever read in the form that the index knows, none is taken twice.
 */
#include "rekey.h"
#include "audit_former.h"
#include "fault.h"
#include "write.h"

#include <sodium.h>

struct work {
    struct store *store;
    const struct store_rekey *rekey;
    struct secbuf root_key; /* the new one */
    struct seal_keys other; /* the subkeys that the store does not use at the moment */
    struct secbuf value;
    struct node_record record;
};

static void swap_keys(struct work *w)
{
    struct seal_keys keys = w->store->keys;
    w->store->keys = w->other;
    w->other = keys;
}

static enum store_err reseal_versions(struct work *w)
{
    const struct store_details *d = &w->record.details;
    enum store_err err = STORE_OK;

    for (uint32_t i = 0; i < d->version_count && !err; i++) {
        err = version_read(w->store, d->versions[i].id, &w->value);
        swap_keys(w);
        if (!err)
            err = write_version_again(w->store, w->record.id, &d->versions[i], &w->value);
        swap_keys(w);
    }
    return err;
}

static enum store_err reseal_node(struct work *w, uint64_t id)
{
    enum store_err err = node_read(w->store, id, &w->record);

    if (!err)
        err = reseal_versions(w);
    swap_keys(w);
    if (!err)
        err = write_node_again(w->store, &w->record);
    swap_keys(w);
    return err;
}

static enum store_err reseal_nodes(struct work *w)
{
    const struct index *index = w->store->index;
    uint64_t total = index_rows(index, TABLE_NODE);
    enum store_err err = STORE_OK;
    uint64_t done = 0;

    for (uint32_t i = 1; i < index_node_slots(index) && !err; i++) {
        if (index_node_at(index, i)->kind == 0)
            continue;
        err = reseal_node(w, index_node_at(index, i)->id);
        progress_tell(w->store, STORE_WORK_REKEY, done++, total);
    }
    progress_over(w->store, STORE_WORK_REKEY);
    return err;
}

/* Under the new keys, by which the sum over the rows takes them. */
static enum store_err replace_slots(struct work *w)
{
    struct store *store = w->store;
    enum store_err err = STORE_OK;

    for (uint32_t i = 0; i < store->slots.count && !err; i++)
        err = write_deletion(store, TABLE_SLOT, store->slots.ids[i]);
    for (size_t i = 0; i < w->rekey->slot_count && !err; i++) {
        const struct store_rekey_slot *wanted = &w->rekey->slots[i];
        struct keyslot slot;
        err = keyslot_wrap(store->uuid, wanted->id, &wanted->slot, KEYSLOT_DEFAULT_COST,
                           &w->root_key, &slot);
        if (!err)
            err = write_slot(store, wanted->id, &slot);
    }
    return err ? err : slots_read(store, &store->slots);
}

/* The line about the rekey is the last under the old key, which is kept to verify all before it. */
static enum store_err end_record(struct work *w)
{
    struct store *store = w->store;

    audit_note(store, AUDIT_REKEY, NULL, 0, NULL);
    enum store_err err = audit_record(store);
    return err ? err
               : audit_keys_keep(&store->keys, &store->to.checkpoint.head, &w->other, &store->to);
}

/* In a transaction. The store is left with the new keys, whatever comes of it. */
static enum store_err reseal(struct work *w)
{
    enum store_err err = reseal_nodes(w);

    if (!err)
        err = anchor_prepare_rekey(w->store, &w->other);
    if (!err)
        err = end_record(w);
    swap_keys(w);
    if (!err)
        err = replace_slots(w);
    if (!err && w->rekey->ready)
        err = w->rekey->ready(w->rekey->arg, &w->root_key);
    return err;
}

static enum store_err rekey_under(struct work *w)
{
    struct store *store = w->store;
    enum store_err err = store_begin(store);

    if (err)
        return err;
    store->audit.held = true; /* what is said of a failure is said under the old keys again */
    err = reseal(w);
    if (err)
        store_rollback(store);
    else
        err = store_commit(store);
    store->audit.held = false;
    if (err) {
        swap_keys(w);
        audit_record_failure(store);
    }
    audit_forget(store);
    return err;
}

enum store_err store_rekey(struct store *store, const struct store_rekey *rekey)
{
    struct work w = {.store = store, .rekey = rekey, .root_key = SECBUF_INIT, .value = SECBUF_INIT};

    if (rekey->slot_count == 0 || rekey->slot_count > KEYSLOT_MAX)
        return fault(STORE_ERR_INVALID, "rekey", "the store", "it needs a key slot");
    enum store_err err = secbuf_alloc(&w.root_key, STORE_KEY_BYTES);
    if (!err) {
        w.root_key.len = STORE_KEY_BYTES;
        randombytes_buf(w.root_key.data, w.root_key.len);
        err = seal_keys_derive(&w.other, &w.root_key, store->uuid);
    }
    if (!err)
        err = rekey_under(&w);
    seal_keys_release(&w.other);
    secbuf_release(&w.root_key);
    secbuf_release(&w.value);
    sodium_memzero(&w.record, sizeof w.record);
    return err;
}
