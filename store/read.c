/*
 * Reading records and values from the file: the root record, and else only from rows that the index
 * knows by their hash.
 */
#include "fault.h"
#include "state.h"

#include <string.h>

/* ---- Root record --------------------------------------------------------- */

/* Where nothing tells the two apart. */
#define REKEYED \
    "its seal is broken, or the store was rekeyed meanwhile: start again with the new key"

struct root_visit {
    struct store *store;
    struct root_record *root;
    bool sealed; /* it does not open */
};

static enum store_err visit_root(void *arg, const unsigned char uuid[STORE_UUID_BYTES],
                                 const struct row *row)
{
    struct root_visit *v = arg;
    unsigned char plain[RECORD_ROOT_MAX];
    size_t len;

    if (memcmp(uuid, v->store->uuid, STORE_UUID_BYTES) != 0 || row->box_len > sizeof plain)
        return fault_row(STORE_ERR_INTEGRITY, "read", "root", 1, "it is another store's");
    enum store_err err = seal_open(&v->store->keys, TABLE_ROOT, row, plain, &len);
    v->sealed = err != STORE_OK;
    return err ? err : record_decode_root(plain, len, v->root);
}

enum store_err root_read(struct store *store, struct root_record *ret_root)
{
    struct root_visit v = {store, ret_root, false};
    enum store_err err = db_get_root(store->db, visit_root, &v);
    if (!err || !v.sealed)
        return err;
    const char *broken = store_fault()->reason;
    return fault_row(err, "open", "root", 1, slots_may_be_new(store) ? REKEYED : broken);
}

/* ---- Nodes --------------------------------------------------------------- */

struct node_visit {
    const struct store *store;
    struct node_record *record;
};

static enum store_err visit_node(void *arg, const struct row *row)
{
    const struct node_visit *v = arg;
    const struct index_node *n = index_find_node(v->store->index, row->id);
    struct multiset hash = seal_row_hash(&v->store->keys, TABLE_NODE, row);

    if (n == NULL || !multiset_equal(&hash, &n->hash))
        return fault_row(STORE_ERR_INTEGRITY, "read", "node", row->id, "the row was exchanged");
    return node_open(&v->store->keys, row, v->record);
}

enum store_err node_read(struct store *store, uint64_t id, struct node_record *ret_record)
{
    struct node_visit v = {store, ret_record};
    enum store_err err = db_get(store->db, TABLE_NODE, id, visit_node, &v);
    return err == STORE_ERR_NOT_FOUND ? fault_recode(STORE_ERR_INTEGRITY) : err;
}

/* Read the record of the node `id` in the state of the file that the index has. */
static enum store_err read_current(struct store *store, uint64_t id, struct node_record *ret_record)
{
    struct store_attr attr;
    enum store_err err = store_stat(store, id, &attr);
    return err ? err : node_read(store, attr.node, ret_record);
}

/* See one state of the file, and have the index be that one. */
static enum store_err begin_reading(struct store *store)
{
    enum store_err err = db_begin_read(store->db);
    return err ? err : feed_apply(store, NULL);
}

enum store_err store_details(struct store *store, uint64_t node, struct store_details *ret_details)
{
    struct node_record record;
    enum store_err err = STORE_OK;

    pthread_mutex_lock(&store->db_lock);
    if (!store->writing)
        err = begin_reading(store);
    if (!err)
        err = read_current(store, node, &record);
    if (!store->writing)
        db_end(store->db);
    pthread_mutex_unlock(&store->db_lock);
    if (!err)
        *ret_details = record.details;
    return err;
}

struct rotation_visit {
    struct node_visit node;
    struct node_record record;
    store_visit_rotation_fn *visit;
    void *arg;
    bool ended;
};

static enum store_err visit_rotation(void *arg, const struct row *row)
{
    struct rotation_visit *v = arg;
    const struct node_record *record = &v->record;

    if (v->ended)
        return STORE_OK;
    enum store_err err = visit_node(&v->node, row);
    if (err || record->kind != STORE_SECRET || record->deleted_ns)
        return err;
    const struct store_rotation *rotation = &record->details.rotation;
    if (rotation->every_s || rotation->generator[0] || rotation->rotator[0])
        v->ended = !v->visit(v->arg, record->id, &record->details);
    return STORE_OK;
}

enum store_err store_each_rotation(struct store *store, store_visit_rotation_fn *visit, void *arg)
{
    struct rotation_visit v = {.visit = visit, .arg = arg};
    enum store_err err = STORE_OK;

    v.node = (struct node_visit){store, &v.record};
    pthread_mutex_lock(&store->db_lock);
    if (!store->writing)
        err = begin_reading(store);
    if (!err)
        err = db_each(store->db, TABLE_NODE, visit_rotation, &v);
    if (!store->writing)
        db_end(store->db);
    pthread_mutex_unlock(&store->db_lock);
    return err;
}

/* ---- Versions ------------------------------------------------------------ */

struct version_visit {
    struct store *store;
    struct index_version indexed;
    uint64_t node;
    struct secbuf *value;
};

static enum store_err visit_version(void *arg, const struct row *row)
{
    struct version_visit *v = arg;
    struct multiset hash = seal_row_hash(&v->store->keys, TABLE_VERSION, row);
    struct secbuf *value = v->value;

    if (!multiset_equal(&hash, &v->indexed.hash))
        return fault_row(STORE_ERR_INTEGRITY, "read", "version", row->id, "the row was exchanged");
    enum store_err err = secbuf_reserve(value, row->box_len);
    if (!err)
        err = seal_open(&v->store->keys, TABLE_VERSION, row, value->data, &value->len);
    if (!err)
        err = record_decode_version(row->id, v->node, v->indexed.number, value);
    if (!err && value->len != v->indexed.size_bytes)
        err = fault_row(STORE_ERR_INTEGRITY, "read", "version", row->id, "its size is wrong");
    if (err)
        secbuf_wipe(value);
    return err;
}

/* A row that the index knows is gone: by a commit that isn't applied yet, or by no commit at all.
 */
static enum store_err missing_version(struct store *store, uint64_t id)
{
    struct root_record root;
    enum store_err err = root_read(store, &root);
    if (err)
        return err;
    return fault_row(root.generation > store->root.generation ? STORE_ERR_NO_VERSION
                                                              : STORE_ERR_INTEGRITY,
                     "read", "version", id, "the row is missing");
}

enum store_err version_read(struct store *store, uint64_t id, struct secbuf *ret_value)
{
    struct version_visit visit = {.store = store, .value = ret_value};

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store->stale;
    const struct index_version *v = err ? NULL : index_find_version(store->index, id);
    if (v) {
        visit.indexed = *v;
        visit.node = index_node_at(store->index, v->node)->id;
    }
    pthread_rwlock_unlock(&store->lock);
    if (v == NULL)
        return fault(err ? err : STORE_ERR_NO_VERSION, "read", NULL, NULL);
    err = db_get(store->db, TABLE_VERSION, id, visit_version, &visit);
    return err == STORE_ERR_NOT_FOUND ? missing_version(store, id) : err;
}

/* Whoever may have it. */
static enum store_err read_version(struct store *store, uint64_t version, struct secbuf *ret_value)
{
    secbuf_wipe(ret_value);
    turn_begin(store);
    enum store_err err = version_read(store, version, ret_value);
    turn_end(store, err);
    return err;
}

enum store_err store_read(struct store *store, uint64_t version, struct secbuf *ret_value)
{
    struct store_attr attr;
    enum store_err err = store_stat(store, version, &attr) ? STORE_OK : store_refusal(&attr);

    if (!err)
        return read_version(store, version, ret_value); /* which says why it is not found */
    secbuf_wipe(ret_value);
    return err;
}

enum store_err store_check(struct store *store)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    uint64_t total = index_rows(store->index, TABLE_VERSION);
    uint64_t done = 0;
    enum store_err err = STORE_OK;

    for (uint32_t i = 1; i < index_node_slots(store->index) && !err; i++) {
        const struct index_node *n = index_node_at(store->index, i);
        for (uint32_t v = index_first_version(n); v != 0 && !err;) {
            const struct index_version *version = index_version_at(store->index, v);
            v = version->next;
            err = read_version(store, version->id, &value);
            progress_tell(store, STORE_WORK_CHECK, done++, total);
        }
    }
    progress_over(store, STORE_WORK_CHECK);
    return err;
}
