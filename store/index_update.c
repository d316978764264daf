/*
 * Changing the index: memory for new entries, then the two steps of an update (index.h). A change
 * that fails half-way leaves the index unfit for questions; whoever called drops it.
 */
#include "fault.h"
#include "index_state.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_SLACK 65536       /* garbage below this is left alone */
#define EXPECTED_MAX (4u << 20) /* for more than these no room is made before they come */
#define PENDING_KEPT 1024       /* room for more than these is given back */

/* ---- Memory -------------------------------------------------------------- */

enum store_err index_expect(struct index *index, uint64_t nodes, uint64_t versions)
{
    size_t node_count = nodes < EXPECTED_MAX ? nodes : EXPECTED_MAX;
    size_t version_count = versions < EXPECTED_MAX ? versions : EXPECTED_MAX;
    enum store_err err = slotmap_reserve(&index->nodes_by_id, node_count);
    if (!err)
        err = slotmap_reserve(&index->children, node_count);
    return err ? err : slotmap_reserve(&index->versions_by_id, version_count);
}

enum store_err index_reserve(void *array_address, uint32_t *capacity, uint64_t need,
                             size_t element_bytes)
{
    uint64_t larger = *capacity ? *capacity : 64;
    void *array;
    if (need < *capacity)
        return STORE_OK;
    while (larger <= need)
        larger *= 2;
    if (larger > UINT32_MAX)
        return fault(STORE_ERR_LIMIT, "grow", "the index", NULL);
    memcpy(&array, array_address, sizeof array);
    array = realloc(array, larger * element_bytes);
    if (array == NULL)
        return fault(STORE_ERR_NO_MEMORY, "grow", "the index", NULL);
    memcpy(array_address, &array, sizeof array);
    *capacity = (uint32_t)larger;
    return STORE_OK;
}

static enum store_err take_node_slot(struct index *index, uint32_t *ret_slot)
{
    uint32_t slot = index->free_node;
    if (slot != 0) {
        index->free_node = index->nodes[slot].next;
    } else {
        enum store_err err = index_reserve(&index->nodes, &index->node_capacity, index->node_slots,
                                           sizeof *index->nodes);
        if (err)
            return err;
        slot = index->node_slots++;
    }
    index->nodes[slot] = (struct index_node){0};
    *ret_slot = slot;
    return STORE_OK;
}

/* Copy the live parts of the arena together. Out of memory: the garbage stays. */
static void compact(struct index *index)
{
    uint32_t used = 0;
    uint32_t capacity = index->arena_used - index->arena_garbage + ARENA_SLACK;
    unsigned char *arena = malloc(capacity);
    if (arena == NULL)
        return;
    for (uint32_t i = 1; i < index->node_slots; i++) {
        struct index_node *n = &index->nodes[i];
        if (n->kind == 0)
            continue;
        memcpy(arena + used, index->arena + n->name, index_arena_bytes(n));
        n->name = used;
        used += index_arena_bytes(n);
    }
    free(index->arena);
    index->arena = arena;
    index->arena_used = used;
    index->arena_capacity = capacity;
    index->arena_garbage = 0;
}

/* Room in the arena for what has the shape of `shape`; where it is as large, that which it had. */
static enum store_err place_strings(struct index *index, struct index_node *n,
                                    const struct index_node *shape)
{
    uint32_t bytes = index_arena_bytes(shape);

    if (n->kind != 0 && index_arena_bytes(n) == bytes)
        return STORE_OK;
    enum store_err err = index_reserve(&index->arena, &index->arena_capacity,
                                       (uint64_t)index->arena_used + bytes, 1);
    if (err)
        return err;
    if (n->kind != 0)
        index->arena_garbage += index_arena_bytes(n);
    n->name = index->arena_used;
    index->arena_used += bytes;
    return STORE_OK;
}

static enum store_err store_strings(struct index *index, struct index_node *n,
                                    const struct node_record *record)
{
    struct index_node shape = {.name_len = (uint8_t)record->name_len,
                               .entry_count = record->policy.entry_count};
    uint32_t bytes = index_arena_bytes(&shape);
    enum store_err err = place_strings(index, n, &shape);
    if (err)
        return err;
    n->name_len = shape.name_len;
    n->entry_count = shape.entry_count;
    unsigned char *at = index->arena + n->name;
    memset(at, 0, bytes);
    memcpy(at, record->name, record->name_len);
    size_t entries = n->entry_count * sizeof(struct policy_entry);
    memcpy(at + bytes - entries, record->policy.entries, entries);
    return STORE_OK;
}

/* ---- Directories --------------------------------------------------------- */

static void touch_directory(struct index_node *directory, int64_t when_ns)
{
    if (directory->directory.mtime_ns < when_ns)
        directory->directory.mtime_ns = when_ns;
}

static void unlink_node(struct index *index, uint32_t slot)
{
    struct index_node *n = &index->nodes[slot];
    if (!n->linked)
        return;
    struct index_directory *parent = &index->nodes[n->parent].directory;
    slotmap_remove(&index->children, slot);
    *(n->previous ? &index->nodes[n->previous].next : &parent->first_child) = n->next;
    *(n->next ? &index->nodes[n->next].previous : &parent->last_child) = n->previous;
    if (n->kind == STORE_DIRECTORY)
        parent->subdirs--;
    n->parent = n->next = n->previous = 0;
    n->linked = false;
}

/* in: hash  of its name in the directory */
static enum store_err link_node(struct index *index, uint32_t slot, uint32_t parent_slot,
                                uint64_t hash)
{
    struct index_node *n = &index->nodes[slot];
    struct index_directory *parent = &index->nodes[parent_slot].directory;
    uint32_t after = parent->last_child;

    n->parent = parent_slot;
    enum store_err err = slotmap_add(&index->children, hash, slot);
    if (err) {
        n->parent = 0;
        return err;
    }
    while (after && index->nodes[after].id > n->id)
        after = index->nodes[after].previous;
    n->previous = after;
    n->next = after ? index->nodes[after].next : parent->first_child;
    *(after ? &index->nodes[after].next : &parent->first_child) = slot;
    *(n->next ? &index->nodes[n->next].previous : &parent->last_child) = slot;
    if (n->kind == STORE_DIRECTORY)
        parent->subdirs++;
    n->linked = true;
    return STORE_OK;
}

/* ---- Changing ------------------------------------------------------------ */

/* Add a node to the totals (or take it out of them, with sign -1). */
static void count(struct index *index, const struct index_node *n, int sign)
{
    uint64_t one = (uint64_t)(int64_t)sign;
    if (n->deleted) {
        index->stats.deleted += one;
        return;
    }
    *(n->kind == STORE_DIRECTORY ? &index->stats.directories : &index->stats.secrets) += one;
    for (uint32_t v = index_first_version(n); v != 0; v = index->versions[v].next)
        index->stats.value_bytes += one * index->versions[v].size_bytes;
}

/* Whether the node is in the tree under the name that `record` gives it. */
static bool has_name(const struct index *index, const struct index_node *n,
                     const struct node_record *record)
{
    return n->kind != 0 && !n->deleted && record->deleted_ns == 0 &&
           n->parent_id == record->parent && n->name_len == record->name_len &&
           memcmp(index_name(index, n), record->name, n->name_len) == 0;
}

/* The slot of the node, taken out of the sums, and of its directory unless it stays there; a new
 * one where it is unknown. */
static enum store_err open_slot(struct index *index, const struct node_record *record,
                                uint32_t *ret_slot)
{
    uint64_t id = record->id;
    uint32_t slot = index_node_slot(index, id);
    if (slot != 0) {
        struct index_node *n = &index->nodes[slot];
        if (!has_name(index, n, record))
            unlink_node(index, slot);
        multiset_subtract(&index->hash, &n->hash);
        index->rows[TABLE_NODE]--;
        count(index, n, -1);
        *ret_slot = slot;
        return STORE_OK;
    }
    if (index_version_slot(index, id) != 0)
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", id, "a version has its id");
    enum store_err err = take_node_slot(index, &slot);
    if (err)
        return err;
    index->nodes[slot].id = id;
    err = slotmap_add(&index->nodes_by_id, index_hash_id(id), slot);
    if (err) {
        index->nodes[slot] = (struct index_node){.next = index->free_node};
        index->free_node = slot;
        return err;
    }
    if (index->highest_node < id)
        index->highest_node = id;
    *ret_slot = slot;
    return STORE_OK;
}

static void set_shown(const struct index *index, struct index_node *n, bool was_shown)
{
    bool held = index->holding && !n->deleted;

    n->hidden = held && !was_shown;
    if (n->kind == STORE_SECRET && (!held || !was_shown || n->secret.shown == 0))
        n->secret.shown = n->secret.current;
}

/*
 * The version that a secret's name showed when `first` was the next id. The one that was current
 * before tells most; else the newest there was, less what is pending, which never was current.
 */
static uint32_t shown_before(const struct index *index, const struct index_secret *secret,
                             uint64_t first)
{
    const struct index_version *versions = index->versions;
    uint32_t shown = secret->current;

    if (shown != 0 && versions[shown].id >= first && secret->label_previous != 0 &&
        versions[secret->label_previous].id < first)
        return secret->label_previous;
    while (shown != 0 && (versions[shown].id >= first || shown == secret->label_pending))
        shown = versions[shown].next;
    return shown;
}

void index_hold_names(struct index *index, uint64_t first)
{
    index->holding = true;
    for (uint32_t i = 1; i < index->node_slots; i++) {
        struct index_node *n = &index->nodes[i];

        if (n->kind == 0 || n->deleted || n->id == STORE_ROOT_ID)
            continue;
        if (n->kind == STORE_DIRECTORY) {
            n->hidden = n->id >= first;
            continue;
        }
        uint32_t shown = shown_before(index, &n->secret, first);
        n->hidden = shown == 0;
        n->secret.shown = shown ? shown : n->secret.current;
    }
}

void index_show(struct index *index, const struct index_node *node)
{
    struct index_node *n = &index->nodes[node - index->nodes];
    n->hidden = false;
    if (n->kind == STORE_SECRET)
        n->secret.shown = n->secret.current;
}

/* Where it is in the tree, or that it is not; index_link() knows its neighbours. */
static void set_place(struct index_node *n, const struct node_record *record)
{
    n->parent_id = record->parent;
    n->deleted = record->deleted_ns != 0;
    if (n->linked)
        return;
    n->next = n->previous = n->parent = 0;
    if (n->deleted) {
        n->deleted_ns = record->deleted_ns;
        n->recovery_s = record_recovery_s(record);
    }
}

static void set_fields(struct index_node *n, const struct node_record *record,
                       const struct multiset *hash)
{
    if (n->kind == 0 && record->kind == STORE_DIRECTORY)
        n->directory.mtime_ns = INT64_MIN;
    n->kind = (uint8_t)record->kind;
    set_place(n, record);
    n->changed_ns = record->changed_ns;
    n->uid = record->policy.uid;
    n->gid = record->policy.gid;
    n->mode = record->policy.mode;
    n->extended = record->policy.extended;
    n->group_perm = record->policy.group_perm;
    n->hash = *hash;
    if (n->kind == STORE_DIRECTORY)
        touch_directory(n, record->mtime_ns);
}

/* What only a secret has. */
static enum store_err set_secret(struct index *index, uint32_t slot,
                                 const struct node_record *record)
{
    enum store_err err = index_set_versions(index, slot, &record->details);
    return err ? err : index_set_expiry(index, slot, record->details.expires_ns);
}

enum store_err index_set_node(struct index *index, const struct node_record *record,
                              const struct multiset *hash)
{
    uint32_t slot = 0;

    enum store_err err = index_reserve(&index->pending, &index->pending_capacity,
                                       index->pending_count, sizeof *index->pending);
    if (!err)
        err = open_slot(index, record, &slot);
    if (err)
        return err;
    struct index_node *n = &index->nodes[slot];
    if (n->kind != 0 && n->kind != record->kind)
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", record->id, "its kind has changed");
    bool was_shown = has_name(index, n, record) && !n->hidden;
    err = store_strings(index, n, record);
    if (err)
        return err;
    set_fields(n, record, hash);
    if (record->kind == STORE_SECRET)
        err = set_secret(index, slot, record);
    if (!err)
        err = index_set_rules(index, slot, &record->details.rules);
    if (err)
        return err;
    set_shown(index, n, was_shown);
    multiset_add(&index->hash, hash);
    index->rows[TABLE_NODE]++;
    count(index, n, 1);
    index->pending[index->pending_count++] = (struct pending){slot, record->linked_ns};
    if (index->arena_garbage > ARENA_SLACK && index->arena_garbage > index->arena_used / 2)
        compact(index);
    return STORE_OK;
}

void index_unlink_node(struct index *index, uint64_t id)
{
    uint32_t slot = index_node_slot(index, id);
    if (slot != 0)
        unlink_node(index, slot);
}

enum store_err index_remove_node(struct index *index, uint64_t id)
{
    uint32_t slot = index_node_slot(index, id);
    if (slot == 0)
        return STORE_OK;
    struct index_node *n = &index->nodes[slot];
    if (index_first_child(n) != 0)
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", id,
                         "it is missing, and something is in it");
    unlink_node(index, slot);
    multiset_subtract(&index->hash, &n->hash);
    index->rows[TABLE_NODE]--;
    count(index, n, -1);
    index_drop_versions(index, index_first_version(n));
    if (n->kind == STORE_SECRET)
        index_remove_expiry(index, slot);
    index_remove_rules(index, slot);
    index->arena_garbage += index_arena_bytes(n);
    slotmap_remove(&index->nodes_by_id, slot);
    *n = (struct index_node){.next = index->free_node};
    index->free_node = slot;
    return STORE_OK;
}

void index_change_hash(struct index *index, enum table table, uint64_t id,
                       const struct multiset *hash)
{
    struct multiset *present = table == TABLE_NODE
                                   ? &index->nodes[index_node_slot(index, id)].hash
                                   : &index->versions[index_version_slot(index, id)].hash;
    multiset_subtract(&index->hash, present);
    *present = *hash;
    multiset_add(&index->hash, hash);
}

static enum store_err link_pending(struct index *index, const struct pending *p)
{
    struct index_node *n = &index->nodes[p->slot];
    uint64_t hash;

    for (uint32_t v = index_first_version(n); v != 0; v = index->versions[v].next)
        if (!index->versions[v].has_row)
            return fault_row(STORE_ERR_INTEGRITY, "index", "version", index->versions[v].id,
                             "its row is missing");
    if (n->id == STORE_ROOT_ID)
        return STORE_OK;
    uint32_t parent = index_node_slot(index, n->parent_id);
    if (parent == 0 || index->nodes[parent].kind != STORE_DIRECTORY)
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", n->id, "it is in no directory");
    if (n->deleted) {
        touch_directory(&index->nodes[parent], n->deleted_ns);
        return STORE_OK;
    }
    if (index->nodes[parent].deleted)
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", n->id,
                         "it is in a deleted directory");
    touch_directory(&index->nodes[parent], p->linked_ns);
    if (n->linked)
        return STORE_OK;
    if (index_child_slot(index, parent, index_name(index, n), n->name_len, &hash))
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", n->id, "its name is there twice");
    return link_node(index, p->slot, parent, hash);
}

/* A cycle never reaches the root, so it looks too deep. */
static enum store_err check_depth(const struct index *index, const struct pending *p)
{
    const struct index_node *n = &index->nodes[p->slot];
    if (n->linked && index_depth(index, n) > STORE_DEPTH_MAX)
        return fault_row(STORE_ERR_INTEGRITY, "index", "node", n->id, "it is too deep in the tree");
    return STORE_OK;
}

enum store_err index_link(struct index *index)
{
    enum store_err err = STORE_OK;
    for (uint32_t i = 0; i < index->pending_count && !err; i++)
        err = link_pending(index, &index->pending[i]);
    for (uint32_t i = 0; i < index->pending_count && !err; i++)
        err = check_depth(index, &index->pending[i]);
    index->pending_count = 0;
    if (index->pending_capacity > PENDING_KEPT) {
        free(index->pending);
        index->pending = NULL;
        index->pending_capacity = 0;
    }
    if (!err && index_root(index) == NULL)
        err = fault_row(STORE_ERR_INTEGRITY, "index", "node", STORE_ROOT_ID, "it is missing");
    return err;
}
