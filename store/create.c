/*
 * Making a new store: a root key, one key slot, an empty root directory.
 */
#include "fault.h"
#include "slots.h"
#include "write.h"

#include <sodium.h>

#define ROOT_DIRECTORY_MODE 0755

static enum store_err write_first_rows(struct store *store, const struct store_new_slot *new_slot,
                                       const struct secbuf *root_key)
{
    struct keyslot slot;
    struct node_record root = {.id = STORE_ROOT_ID,
                               .kind = STORE_DIRECTORY,
                               .created_ns = store->now_ns,
                               .changed_ns = store->now_ns,
                               .linked_ns = store->now_ns,
                               .mtime_ns = store->now_ns,
                               .policy = policy_make(0, 0, ROOT_DIRECTORY_MODE)};
    enum store_err err =
        keyslot_wrap(store->uuid, 1, new_slot, KEYSLOT_DEFAULT_COST, root_key, &slot);
    if (!err)
        err = write_slot(store, 1, &slot);
    if (!err)
        err = write_node(store, &root);
    return err ? err : slots_read(store, &store->slots);
}

/* Who reads the record should see which store it is of. */
static void note_creation(struct store *store)
{
    char hex[2 * STORE_UUID_BYTES + 1];

    sodium_bin2hex(hex, sizeof hex, store->uuid, STORE_UUID_BYTES);
    audit_note(store, AUDIT_INIT, NULL, 0, "the store %.8s-%.4s-%.4s-%.4s-%s", hex, hex + 8,
               hex + 12, hex + 16, hex + 20);
}

static enum store_err populate(struct store *store, const struct store_new_slot *new_slot,
                               store_prepare_fn *prepare, void *arg)
{
    SECBUF_AUTO struct secbuf root_key = SECBUF_INIT;
    enum store_err err = secbuf_alloc(&root_key, STORE_KEY_BYTES);
    if (err)
        return err;
    root_key.len = STORE_KEY_BYTES;
    randombytes_buf(root_key.data, root_key.len);
    randombytes_buf(store->uuid, STORE_UUID_BYTES);
    store->uuid[6] = (unsigned char)((store->uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
    store->uuid[8] = (unsigned char)((store->uuid[8] & 0x3f) | 0x80);
    err = seal_keys_derive(&store->keys, &root_key, store->uuid);
    if (!err)
        err = index_new(&store->index);
    if (!err)
        err = db_begin_write(store->db);
    if (err)
        return err;
    write_start(store, &(struct root_record){.next_id = STORE_ROOT_ID + 1});
    err = write_first_rows(store, new_slot, &root_key);
    if (!err && prepare)
        err = prepare(arg, store);
    if (err)
        return err;
    note_creation(store);
    return store_commit(store);
}

enum store_err store_create_with(const char *path, const struct store_new_slot *new_slot,
                                 store_prepare_fn *prepare, void *arg)
{
    struct store *store = NULL;
    struct db *db = NULL;
    enum store_err err = db_create(path, &db);
    if (err)
        return err;
    err = store_new(db, &store);
    if (!err)
        err = populate(store, new_slot, prepare, arg);
    store_close(store);
    if (err)
        db_unlink(path);
    return err;
}

enum store_err store_create_for(const char *path, const struct store_new_slot *new_slot)
{
    return store_create_with(path, new_slot, NULL, NULL);
}

enum store_err store_create(const char *path, const struct store_credential *credential)
{
    return store_create_for(path, &(struct store_new_slot){.credential = *credential});
}
