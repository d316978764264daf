/*
 * Transactions: rows are rewritten whole, and set in the index as they are; the commit writes the
 * root record that adds them all up. A transaction that is dropped leaves the index ahead of the
 * file, so it is marked stale and loaded anew when next needed.
 */
#include "write.h"
#include "clock.h"
#include "fault.h"

/* ---- Rows ---------------------------------------------------------------- */

static enum store_err write_root(struct store *store)
{
    unsigned char box[RECORD_ROOT_MAX];
    unsigned char seal[ROW_SEAL_BYTES];
    size_t len = record_encode_root(&store->to, box);
    struct row row = {.id = 1, .seal = seal, .box = box};

    row.box_len = seal_close(&store->keys, TABLE_ROOT, row.id, box, len, seal);
    return db_put_root(store->db, store->uuid, &row);
}

/* A write that fails leaves a change half made, so the transaction can't be committed any more. */
static enum store_err settle(struct store *store, enum store_err err)
{
    store->changed = true;
    store->failed |= err != STORE_OK;
    return err;
}

enum store_err write_slot(struct store *store, uint64_t id, const struct keyslot *slot)
{
    unsigned char box[RECORD_SLOT_MAX];
    struct row row = {.id = id, .generation = store->to.generation, .box = box};

    row.box_len = record_encode_slot(slot, box);
    return settle(store, db_put(store->db, TABLE_SLOT, &row));
}

static enum store_err put_node_row(struct store *store, const struct node_record *record,
                                   uint64_t generation, struct multiset *ret_hash)
{
    unsigned char box[RECORD_NODE_MAX];
    unsigned char seal[ROW_SEAL_BYTES];
    unsigned char lookup[ROW_LOOKUP_BYTES];
    size_t len = record_encode_node(record, box);
    struct row row = {
        .id = record->id, .generation = generation, .lookup = lookup, .seal = seal, .box = box};

    row.box_len = seal_close(&store->keys, TABLE_NODE, row.id, box, len, seal);
    seal_lookup_hash(&store->keys, record->parent, record->name, record->name_len,
                     record->deleted_ns ? record->id : 0, lookup);
    *ret_hash = seal_row_hash(&store->keys, TABLE_NODE, &row);
    return db_put(store->db, TABLE_NODE, &row);
}

static enum store_err put_node(struct store *store, const struct node_record *record)
{
    struct multiset hash;
    enum store_err err = put_node_row(store, record, store->to.generation, &hash);
    return err ? err : index_set_node(store->index, record, &hash);
}

enum store_err write_node(struct store *store, const struct node_record *record)
{
    enum store_err err = put_node(store, record);
    return settle(store, err ? err : index_link(store->index));
}

enum store_err write_node_again(struct store *store, const struct node_record *record)
{
    struct multiset hash;

    enum store_err err = put_node_row(store, record, record->generation, &hash);
    if (!err)
        index_change_hash(store->index, TABLE_NODE, record->id, &hash);
    return settle(store, err);
}

static enum store_err put_version_row(struct store *store, uint64_t node,
                                      const struct store_version *version,
                                      const struct secbuf *value, struct multiset *ret_hash)
{
    struct secbuf *box = &store->scratch;
    unsigned char seal[ROW_SEAL_BYTES];
    struct row row = {.id = version->id, .generation = store->to.generation, .seal = seal};
    size_t len = record_version_len(value->len);

    enum store_err err = secbuf_reserve(box, seal_padded_len(len));
    if (err)
        return err;
    record_encode_version(node, version->number, value, box->data);
    row.box_len = seal_close(&store->keys, TABLE_VERSION, row.id, box->data, len, seal);
    row.box = box->data;
    *ret_hash = seal_row_hash(&store->keys, TABLE_VERSION, &row);
    return db_put(store->db, TABLE_VERSION, &row);
}

static enum store_err put_version(struct store *store, const struct node_record *record,
                                  const struct secbuf *value)
{
    const struct store_version *version =
        &record->details.versions[record->details.version_count - 1];
    struct multiset hash;

    enum store_err err = put_version_row(store, record->id, version, value, &hash);
    if (!err)
        err = put_node(store, record);
    if (!err)
        err = index_set_version_row(store->index, version->id, &hash);
    return err ? err : index_link(store->index);
}

enum store_err write_version_again(struct store *store, uint64_t node,
                                   const struct store_version *version, const struct secbuf *value)
{
    struct multiset hash;

    enum store_err err = db_delete(store->db, TABLE_VERSION, version->id);
    if (!err)
        err = put_version_row(store, node, version, value, &hash);
    if (!err)
        index_change_hash(store->index, TABLE_VERSION, version->id, &hash);
    return settle(store, err);
}

enum store_err write_version(struct store *store, const struct node_record *record,
                             const struct secbuf *value)
{
    return settle(store, put_version(store, record, value));
}

enum store_err write_deletion(struct store *store, enum table table, uint64_t id)
{
    store->purged |= table == TABLE_SLOT; /* which opened what there is */
    return settle(store, db_delete(store->db, table, id));
}

/* ---- Transactions -------------------------------------------------------- */

void write_start(struct store *store, const struct root_record *from)
{
    store->now_ns = clock_ns(CLOCK_REALTIME);
    store->to = *from;
    store->to.generation++;
    store->changed = store->failed = store->purged = false;
    store->writing = true;
}

enum store_err store_begin(struct store *store)
{
    if (store->writing)
        return fault(STORE_ERR_INVALID, "begin", "the store", "in a transaction");
    enum store_err err = store->stale ? anchor_look(store) : STORE_OK;
    if (!err)
        err = db_begin_write(store->db);
    if (err)
        return err;
    err = store->stale ? feed_load(store) : feed_apply(store, NULL);
    if (err) {
        db_end(store->db);
        return err;
    }
    write_start(store, &store->root);
    return STORE_OK;
}

void store_rollback(struct store *store)
{
    if (!store->writing)
        return;
    db_end(store->db);
    store->writing = false;
    audit_forget(store);
    if (store->changed)
        store->stale = STORE_ERR_BUSY;
}

enum store_err store_commit(struct store *store)
{
    enum store_err err = STORE_OK;
    if (!store->writing)
        return fault(STORE_ERR_INVALID, "commit", "the store", "outside a transaction");
    if (!store->changed || store->failed) {
        bool failed = store->failed;
        store_rollback(store);
        return failed ? fault(STORE_ERR_INVALID, "commit", "the store",
                              "an operation of the transaction has failed")
                      : STORE_OK;
    }
    feed_total(store->index, &store->slots, &store->to.hash, store->to.rows);
    err = audit_record(store);
    if (!err)
        err = write_root(store);
    if (!err && store->purged)
        compact_mark(store);
    if (!err)
        err = db_commit(store->db);
    if (err) {
        audit_record_failure(store);
        store_rollback(store);
        return err;
    }
    store->writing = false;
    audit_forget(store);
    store->root = store->to;
    db_touch(store->db);
    anchor_committed(store);
    return STORE_OK;
}
