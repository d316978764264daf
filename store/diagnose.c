/*
 * Finding out what is wrong with a store that does not verify. A load stops at the first row that
 * it can't use; here every row is looked at, because the others tell whose it is: a version names
 * its secret, a secret lists its versions, and names make paths.
 *
 * Only for words. Nothing of what is read here is kept.
 */
#include "fault.h"
#include "grow.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct diagnosis {
    struct store *store;
    struct store_finding *finding;
    struct root_record root;
    struct slots slots;
    struct index *index;       /* of what can be used; not linked until the end */
    struct node_record record; /* the row at hand */
    uint64_t concerned;        /* the node that the finding belongs to, or 0 */
    bool found;
    uint64_t *versions; /* the ids of all rows */
    size_t version_count;
    size_t version_room;
};

/* ---- Findings ------------------------------------------------------------ */

/* The first one counts. */
static void find(struct diagnosis *d, const char *record, const char *wrong, uint64_t node)
{
    if (d->found)
        return;
    d->found = true;
    d->concerned = node;
    snprintf(d->finding->record, sizeof d->finding->record, "%s", record);
    d->finding->wrong = wrong;
}

static void find_row(struct diagnosis *d, enum table table, uint64_t id, const char *wrong,
                     uint64_t node)
{
    char record[48];
    snprintf(record, sizeof record, "%s %llu", table_name(table), (unsigned long long)id);
    find(d, record, wrong, node);
}

/* What a failing call has noted. Other failures than of integrity are the caller's to return. */
static enum store_err find_fault(struct diagnosis *d, enum store_err err, uint64_t node)
{
    const struct store_fault *fault = store_fault();

    if (err != STORE_ERR_INTEGRITY)
        return err;
    find(d, fault->object, fault->reason, node);
    return STORE_OK;
}

/* ---- Nodes --------------------------------------------------------------- */

static enum store_err look_at_node(void *arg, const struct row *row)
{
    struct diagnosis *d = arg;
    const struct seal_keys *keys = &d->store->keys;
    unsigned char lookup[ROW_LOOKUP_BYTES];

    enum store_err err = node_open(keys, row, &d->record);
    if (err == STORE_ERR_INTEGRITY) {
        find_row(d, TABLE_NODE, row->id,
                 "its box does not open: it was changed, or is another row's", 0);
        return STORE_OK;
    }
    if (err)
        return err;
    seal_lookup_hash(keys, d->record.parent, d->record.name, d->record.name_len,
                     d->record.deleted_ns ? d->record.id : 0, lookup);
    if (memcmp(lookup, row->lookup, sizeof lookup) != 0)
        find_row(d, TABLE_NODE, row->id, "its lookup hash was changed", row->id);
    if (row->generation > d->root.generation)
        find_row(d, TABLE_NODE, row->id, "it is of a later commit than the root record", row->id);
    struct multiset hash = seal_row_hash(keys, TABLE_NODE, row);
    return find_fault(d, index_set_node(d->index, &d->record, &hash), row->id);
}

/* ---- Versions ------------------------------------------------------------ */

static enum store_err note_version(void *arg, const struct row *row)
{
    struct diagnosis *d = arg;

    uint64_t *versions = grow(d->versions, d->version_count, &d->version_room, sizeof *versions);

    if (versions == NULL)
        return fault(STORE_ERR_NO_MEMORY, "check", "the store", NULL);
    d->versions = versions;
    d->versions[d->version_count++] = row->id;
    return STORE_OK;
}

/* A version that its secret does not list: which of the two is the wrong one? */
static void find_unlisted(struct diagnosis *d, uint64_t id, uint64_t node, uint32_t number)
{
    const struct index_node *n = index_find_node(d->index, node);
    const struct index_version *latest =
        n ? index_version_at(d->index, index_first_version(n)) : NULL;

    if (n == NULL)
        find_row(d, TABLE_NODE, node, "its row is missing", 0);
    else if (latest == NULL || number > latest->number)
        find_row(d, TABLE_NODE, node,
                 "an earlier row was put back: it does not know of its latest version", node);
    else
        find_row(d, TABLE_VERSION, id, "it was deleted, and put back", node);
}

static enum store_err look_at_version(void *arg, const struct row *row)
{
    struct diagnosis *d = arg;
    struct secbuf *value = &d->store->scratch;
    const struct index_version *v = index_find_version(d->index, row->id);
    struct multiset hash = seal_row_hash(&d->store->keys, TABLE_VERSION, row);
    uint64_t listed_by = v ? index_node_at(d->index, v->node)->id : 0;
    uint64_t node = 0;
    uint32_t number = 0;

    enum store_err err = secbuf_reserve(value, row->box_len);
    if (err)
        return err;
    if (seal_open(&d->store->keys, TABLE_VERSION, row, value->data, &value->len))
        find_row(d, TABLE_VERSION, row->id,
                 "its box does not open: it was changed, or is another row's", listed_by);
    else if (row->generation > d->root.generation)
        find_row(d, TABLE_VERSION, row->id, "it is of a later commit than the root record",
                 listed_by);
    else if (record_version_owner(value, &node, &number) && v == NULL)
        find_unlisted(d, row->id, node, number);
    else if (v && record_decode_version(row->id, listed_by, v->number, value))
        find_row(d, TABLE_VERSION, row->id, "its record is malformed", listed_by);
    secbuf_wipe(value);
    if (v == NULL)
        return STORE_OK;
    return find_fault(d, index_set_version_row(d->index, row->id, &hash), listed_by);
}

/* One by one: a walk over all would not read the boxes. */
static enum store_err look_at_versions(struct diagnosis *d)
{
    enum store_err err = db_each(d->store->db, TABLE_VERSION, note_version, d);

    for (size_t i = 0; i < d->version_count && !err; i++) {
        err = db_get(d->store->db, TABLE_VERSION, d->versions[i], look_at_version, d);
        if (err == STORE_ERR_NOT_FOUND)
            err = fault_row(STORE_ERR_INTEGRITY, "check", "version", d->versions[i],
                            "its row can't be found by its id");
        err = find_fault(d, err, 0);
    }
    return err;
}

/* ---- All of them --------------------------------------------------------- */

/* A listed version without a row, before index_link() says it: that does not know whose it is. */
static void look_for_versions(struct diagnosis *d)
{
    for (uint32_t i = 1; i < index_node_slots(d->index); i++) {
        const struct index_node *n = index_node_at(d->index, i);
        for (uint32_t slot = index_first_version(n); slot != 0;) {
            const struct index_version *v = index_version_at(d->index, slot);
            if (!v->has_row)
                find_row(d, TABLE_VERSION, v->id, "its row is missing", n->id);
            slot = v->next;
        }
    }
}

static void look_for_parents(struct diagnosis *d)
{
    for (uint32_t i = 1; i < index_node_slots(d->index); i++) {
        const struct index_node *n = index_node_at(d->index, i);
        if (n->kind && n->id != STORE_ROOT_ID && index_find_node(d->index, n->parent_id) == NULL)
            find_row(d, TABLE_NODE, n->parent_id, "its row is missing", 0);
    }
}

/* Each row is good by itself. */
static void compare_sums(struct diagnosis *d)
{
    static const enum table tables[] = {TABLE_SLOT, TABLE_NODE, TABLE_VERSION};
    uint64_t rows[TABLE_END];
    struct multiset sum;

    feed_total(d->index, &d->slots, &sum, rows);
    for (size_t i = 0; i < 3; i++) {
        if (rows[tables[i]] < d->root.rows[tables[i]])
            find(d, table_name(tables[i]), "a row is missing, which no other tells of", 0);
        if (rows[tables[i]] > d->root.rows[tables[i]])
            find(d, table_name(tables[i]), "there is a row too many", 0);
    }
    if (!multiset_equal(&sum, &d->root.hash))
        find(d, "rows",
             "one is not as it was last committed, though each is good by itself: an earlier one "
             "was put back, or a generation or key slot changed",
             0);
}

static enum store_err look(struct diagnosis *d)
{
    struct db *db = d->store->db;
    enum store_err err = find_fault(d, root_read(d->store, &d->root), 0);

    if (!err && !d->found)
        err = find_fault(d, slots_read(d->store, &d->slots), 0);
    if (!err && !d->found) {
        err = find_fault(d, db_each(db, TABLE_NODE, look_at_node, d), 0);
        if (!err)
            err = find_fault(d, look_at_versions(d), 0);
    }
    if (err)
        return err;
    look_for_versions(d);
    look_for_parents(d);
    err = d->found ? STORE_OK : find_fault(d, index_link(d->index), 0);
    if (!err)
        compare_sums(d);
    return err;
}

static void tell_path(const struct diagnosis *d)
{
    char room[STORE_PATH_MAX];
    const struct index_node *n = d->concerned ? index_find_node(d->index, d->concerned) : NULL;
    const struct index_node *top = n;

    for (int depth = 0; top && top->id != STORE_ROOT_ID && depth <= STORE_DEPTH_MAX; depth++)
        top = index_find_node(d->index, top->parent_id);
    if (top && top->id == STORE_ROOT_ID)
        snprintf(d->finding->path, sizeof d->finding->path, "%s", path_of(d->index, n, room));
}

static enum store_err diagnose(struct diagnosis *d)
{
    enum store_err err = index_new(&d->index);

    if (!err)
        err = db_begin_read(d->store->db);
    if (!err)
        err = look(d);
    db_end(d->store->db);
    if (!err)
        tell_path(d);
    return err;
}

enum store_err store_diagnose(struct store *store, struct store_finding *ret_finding)
{
    struct diagnosis *d = calloc(1, sizeof *d);

    if (d == NULL)
        return fault(STORE_ERR_NO_MEMORY, "check", "the store", NULL);
    *ret_finding = (struct store_finding){.wrong = ""};
    d->store = store;
    d->finding = ret_finding;
    pthread_mutex_lock(&store->db_lock);
    enum store_err err = diagnose(d);
    pthread_mutex_unlock(&store->db_lock);
    bool found = d->found;
    index_free(d->index);
    free(d->versions);
    free(d);
    if (err)
        return err;
    return found ? fault(STORE_ERR_INTEGRITY, "verify", ret_finding->record, ret_finding->wrong)
                 : fault(STORE_ERR_NO_VERSION, "verify", "the store", "it verifies by now");
}
