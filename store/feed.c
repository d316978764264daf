/*
 * Following what others commit.
 *
 * That ends with the same question as a load (load.c): do the rows that the index would hold add up
 * to what the root record says? A load asks it of a new index. A refresh first works the sum out
 * without touching the index (the check), then applies the rows that it has found good, in the same
 * snapshot of the file.
 */
#include "fault.h"
#include "state.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct feed {
    struct store *store;
    struct index *index;
    struct node_record record; /* the row at hand, decoded */
    struct multiset hash;      /* of that row */
    struct multiset sum;       /* check: over all rows, as they would be */
    uint64_t rows[TABLE_END];
    uint64_t *gone; /* ids of nodes whose rows are missing now */
    size_t gone_count;
    struct store_changes *changes; /* NULL if nobody asks */
};

enum store_err feed_compare(const struct root_record *root, const struct multiset *sum,
                            const uint64_t rows[TABLE_END])
{
    static const enum table tables[] = {TABLE_SLOT, TABLE_NODE, TABLE_VERSION};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (rows[tables[i]] != root->rows[tables[i]])
            return fault(STORE_ERR_INTEGRITY, "verify", table_name(tables[i]),
                         "rows were added or removed");
    if (!multiset_equal(sum, &root->hash))
        return fault(STORE_ERR_INTEGRITY, "verify", "rows", "a row was exchanged");
    return STORE_OK;
}

/* ---- Rows and sums ------------------------------------------------------- */

enum store_err node_open(const struct seal_keys *keys, const struct row *row,
                         struct node_record *ret_record)
{
    /* The rows of a large commit come through here, so the buffer is cleared only as far as it was
     * used. */
    __attribute__((uninitialized)) unsigned char plain[RECORD_NODE_MAX];
    size_t len;

    if (row->box_len > sizeof plain)
        return fault_row(STORE_ERR_INTEGRITY, "open", "node", row->id, "its record is too large");
    enum store_err err = seal_open(keys, TABLE_NODE, row, plain, &len);
    if (!err)
        err = record_decode_node(row->id, plain, len, ret_record);
    ret_record->generation = row->generation;
    sodium_memzero(plain, row->box_len);
    return err;
}

enum store_err node_check_lookup(const struct seal_keys *keys, const struct node_record *record,
                                 const struct row *row)
{
    unsigned char lookup[ROW_LOOKUP_BYTES];

    seal_lookup_hash(keys, record->parent, record->name, record->name_len,
                     record->deleted_ns ? record->id : 0, lookup);
    if (memcmp(lookup, row->lookup, sizeof lookup) == 0)
        return STORE_OK;
    return fault_row(STORE_ERR_INTEGRITY, "verify", "node", row->id, "its lookup hash is wrong");
}

/* Open the node of `row` into feed->record and check that it is found under its name; hash the row.
 */
static enum store_err open_node(struct feed *feed, const struct row *row)
{
    const struct seal_keys *keys = &feed->store->keys;
    enum store_err err = node_open(keys, row, &feed->record);

    if (!err)
        err = node_check_lookup(keys, &feed->record, row);
    if (!err)
        feed->hash = seal_row_hash(keys, TABLE_NODE, row);
    return err;
}

static enum store_err load_version(void *arg, const struct row *row)
{
    struct feed *feed = arg;
    struct multiset hash = seal_row_hash(&feed->store->keys, TABLE_VERSION, row);
    return index_set_version_row(feed->index, row->id, &hash);
}

void feed_total(const struct index *index, const struct slots *slots, struct multiset *ret_sum,
                uint64_t ret_rows[TABLE_END])
{
    *ret_sum = index_hash(index);
    multiset_add(ret_sum, &slots->hash);
    ret_rows[TABLE_SLOT] = slots->count;
    ret_rows[TABLE_NODE] = index_rows(index, TABLE_NODE);
    ret_rows[TABLE_VERSION] = index_rows(index, TABLE_VERSION);
}

/* ---- Following: the check ------------------------------------------------ */

static enum store_err check_node(void *arg, const struct row *row)
{
    struct feed *feed = arg;
    enum store_err err = open_node(feed, row);
    if (err)
        return err;
    const struct index_node *old = index_find_node(feed->index, row->id);
    if (old) {
        multiset_subtract(&feed->sum, &old->hash);
        feed->rows[TABLE_NODE]--;
    }
    multiset_add(&feed->sum, &feed->hash);
    feed->rows[TABLE_NODE]++;

    /* Versions that the record doesn't list any more were deleted with it; both lists are sorted.
     */
    const struct store_details *d = &feed->record.details;
    uint32_t kept = d->version_count;
    for (uint32_t slot = old ? index_first_version(old) : 0; slot != 0;) {
        const struct index_version *v = index_version_at(feed->index, slot);
        while (kept > 0 && d->versions[kept - 1].id > v->id)
            kept--;
        if (kept == 0 || d->versions[kept - 1].id != v->id) {
            multiset_subtract(&feed->sum, &v->hash);
            feed->rows[TABLE_VERSION]--;
        }
        slot = v->next;
    }
    return STORE_OK;
}

static enum store_err check_version(void *arg, const struct row *row)
{
    struct feed *feed = arg;
    struct multiset hash = seal_row_hash(&feed->store->keys, TABLE_VERSION, row);
    multiset_add(&feed->sum, &hash);
    feed->rows[TABLE_VERSION]++;
    return STORE_OK;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The ids in feed->gone, sorted, which row ids are crossed off from; `next` is the first not yet
 * passed. */
struct sweep {
    struct feed *feed;
    size_t next;
    size_t kept;
};

static enum store_err cross_off(void *arg, const struct row *row)
{
    struct sweep *sweep = arg;
    uint64_t *ids = sweep->feed->gone;
    while (sweep->next < sweep->feed->gone_count && ids[sweep->next] < row->id)
        ids[sweep->kept++] = ids[sweep->next++];
    if (sweep->next < sweep->feed->gone_count && ids[sweep->next] == row->id)
        sweep->next++;
    return STORE_OK;
}

/* Find the nodes of the index whose rows are gone. Rows leave no trace, so all ids are compared. */
static enum store_err find_gone(struct feed *feed)
{
    struct sweep sweep = {.feed = feed};
    uint32_t slots = index_node_slots(feed->index);

    feed->gone = calloc(slots, sizeof *feed->gone);
    if (feed->gone == NULL)
        return fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL);
    for (uint32_t i = 1; i < slots; i++)
        if (index_node_at(feed->index, i)->kind != 0)
            feed->gone[feed->gone_count++] = index_node_at(feed->index, i)->id;
    qsort(feed->gone, feed->gone_count, sizeof *feed->gone, compare_ids);
    enum store_err err = db_each_from(feed->store->db, TABLE_NODE, 1, cross_off, &sweep);
    if (err)
        return err;
    while (sweep.next < feed->gone_count)
        feed->gone[sweep.kept++] = feed->gone[sweep.next++];
    feed->gone_count = sweep.kept;

    for (size_t i = 0; i < feed->gone_count; i++) {
        const struct index_node *n = index_find_node(feed->index, feed->gone[i]);
        multiset_subtract(&feed->sum, &n->hash);
        feed->rows[TABLE_NODE]--;
        for (uint32_t slot = index_first_version(n); slot != 0;) {
            const struct index_version *v = index_version_at(feed->index, slot);
            multiset_subtract(&feed->sum, &v->hash);
            feed->rows[TABLE_VERSION]--;
            slot = v->next;
        }
    }
    return STORE_OK;
}

static enum store_err check(struct feed *feed, const struct root_record *root,
                            const struct slots *slots)
{
    struct store *store = feed->store;
    struct db *db = store->db;

    if (root->generation < store->root.generation || root->next_id < store->root.next_id)
        return fault(STORE_ERR_INTEGRITY, "verify", "the store",
                     "an older state was put in its place");
    feed_total(feed->index, slots, &feed->sum, feed->rows);
    enum store_err err = db_each_node_since(db, store->root.generation, check_node, feed);
    if (!err)
        err = db_each_from(db, TABLE_VERSION, store->root.next_id, check_version, feed);
    if (!err && feed->rows[TABLE_NODE] != root->rows[TABLE_NODE])
        err = find_gone(feed);
    return err ? err : feed_compare(root, &feed->sum, feed->rows);
}

/* ---- Following: applying ------------------------------------------------- */

static bool same_policy(const struct index *index, const struct index_node *old,
                        const struct policy *policy)
{
    struct policy before;
    index_policy(index, old, &before);
    return policy_equal(&before, policy);
}

/* Compare the record at hand with what the index has, before it is replaced. */
static enum store_err note_change(struct feed *feed)
{
    const struct node_record *record = &feed->record;
    const struct index_node *old = index_find_node(feed->index, record->id);
    bool was = old && !old->deleted;
    bool is = record->deleted_ns == 0;
    struct store_change change = {.kind = record->kind,
                                  .node = record->id,
                                  .new_parent = record->parent,
                                  .new_version = record->details.current};

    if (feed->changes == NULL || (old == NULL && !is))
        return STORE_OK;
    if (!was) {
        /* What is removed may have been back meanwhile, and was revoked then. */
        change.kinds = is ? STORE_CHANGED_CREATED : STORE_CHANGED_POLICY;
        return changes_add(feed->changes, change, record->name);
    }
    const struct index_version *current = index_version_at(feed->index, index_current(old));
    const char *name = index_name(feed->index, old);
    change.old_parent = old->parent_id;
    change.old_version = current ? current->id : 0;
    if (!is)
        change.kinds = STORE_CHANGED_REMOVED;
    else if (old->parent_id != record->parent || strcmp(name, record->name) != 0)
        change.kinds = STORE_CHANGED_MOVED;
    if (is && change.old_version != change.new_version)
        change.kinds |= STORE_CHANGED_VERSION;
    if (is && (!same_policy(feed->index, old, &record->policy) ||
               old->changed_ns != record->changed_ns || record->kind == STORE_DIRECTORY))
        change.kinds |= STORE_CHANGED_POLICY;
    return change.kinds ? changes_add(feed->changes, change, name) : STORE_OK;
}

static enum store_err apply_node(void *arg, const struct row *row)
{
    struct feed *feed = arg;
    enum store_err err = open_node(feed, row);
    if (!err)
        err = note_change(feed);
    return err ? err : index_set_node(feed->index, &feed->record, &feed->hash);
}

static enum store_err note_gone(struct feed *feed, const struct index_node *n)
{
    struct store_change change = {.kinds = STORE_CHANGED_REMOVED,
                                  .kind = (enum store_kind)n->kind,
                                  .node = n->id,
                                  .old_parent = n->parent_id};
    if (feed->changes == NULL || n->deleted)
        return STORE_OK;
    if (n->kind == STORE_SECRET)
        change.old_version = index_version_at(feed->index, n->secret.current)->id;
    return changes_add(feed->changes, change, index_name(feed->index, n));
}

/* Apply what check() has found good. Only memory running out, or a writer that has the key and
 * breaks the rules, can make it fail; the index is stale then. */
static enum store_err apply(struct feed *feed)
{
    struct store *store = feed->store;
    enum store_err err = db_each_node_since(store->db, store->root.generation, apply_node, feed);
    for (size_t i = 0; i < feed->gone_count && !err; i++)
        err = note_gone(feed, index_find_node(feed->index, feed->gone[i]));
    for (size_t i = 0; i < feed->gone_count && !err; i++)
        index_unlink_node(feed->index, feed->gone[i]);
    for (size_t i = 0; i < feed->gone_count && !err; i++)
        err = index_remove_node(feed->index, feed->gone[i]);
    if (!err)
        err = db_each_from(store->db, TABLE_VERSION, store->root.next_id, load_version, feed);
    return err ? err : index_link(feed->index);
}

static enum store_err follow(struct feed *feed)
{
    struct store *store = feed->store;
    struct root_record root;
    struct slots slots;

    if (store->stale)
        return fault(store->stale, "follow", "the store", "it has to be loaded again");
    enum store_err err = root_read(store, &root);
    if (err)
        return err;
    if (root.generation == store->root.generation)
        return multiset_equal(&root.hash, &store->root.hash)
                   ? STORE_OK
                   : fault(STORE_ERR_INTEGRITY, "verify", "the store",
                           "another one is in its place");
    err = slots_read(store, &slots);
    if (!err)
        err = check(feed, &root, &slots);
    if (err)
        return err;
    pthread_rwlock_wrlock(&store->lock);
    err = apply(feed);
    if (!err) {
        store->root = root;
        store->slots = slots;
    }
    store->stale = err;
    pthread_rwlock_unlock(&store->lock);
    return err;
}

enum store_err feed_apply(struct store *store, struct store_changes *ret_changes)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL);
    feed->store = store;
    feed->index = store->index;
    feed->changes = ret_changes;
    enum store_err err = follow(feed);
    free(feed->gone);
    free(feed);
    return err;
}

enum store_err store_refresh(struct store *store, struct store_changes *ret_changes)
{
    turn_begin(store);
    enum store_err err = db_check_files(store->db);
    if (!err)
        err = db_begin_read(store->db);
    if (!err)
        err = feed_apply(store, ret_changes);
    db_end(store->db);
    turn_end(store, err);
    return err;
}

/* ---- For caches that outlived a process ---------------------------------- */

static enum store_err note_row(void *arg, const struct row *row)
{
    struct feed *feed = arg;
    const struct node_record *record = &feed->record;
    enum store_err err = open_node(feed, row);
    if (err)
        return err;
    struct store_change change = {
        .kinds = record->deleted_ns ? STORE_CHANGED_REMOVED
                                    : STORE_CHANGED_VERSION | STORE_CHANGED_POLICY,
        .kind = record->kind,
        .node = record->id,
        .old_parent = record->parent,
        .new_parent = record->parent,
        .old_version = record->details.previous,
        .new_version = record->details.current,
    };
    return record->id == STORE_ROOT_ID ? STORE_OK
                                       : changes_add(feed->changes, change, record->name);
}

enum store_err store_changed_since(struct store *store, uint64_t generation,
                                   struct store_changes *ret_changes)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL);
    feed->store = store;
    feed->changes = ret_changes;
    turn_begin(store);
    enum store_err err = db_each_node_since(store->db, generation, note_row, feed);
    turn_end(store, err);
    free(feed);
    return err;
}
