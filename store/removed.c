/*
 * Out of the tree, back into it, and gone for good; inside a transaction.
 *
 * What is removed keeps its row, its place and its versions, and says how long it can be restored.
 * When that is over, nothing happens by itself: a writer purges it in passing.
 */
#include "change.h"
#include "fault.h"
#include "write.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)

/* When a deleted node can't be restored any more. */
static int64_t over_at(const struct index_node *n)
{
    int64_t at_ns;

    if (__builtin_add_overflow(n->deleted_ns, n->recovery_s * SECOND_NS, &at_ns))
        return INT64_MAX;
    return at_ns;
}

/* Without a window it is, whatever the clock was set to since. */
static bool is_over(const struct store *store, const struct index_node *n)
{
    return n->recovery_s == 0 || over_at(n) <= store->now_ns;
}

/* ---- Removing and restoring ---------------------------------------------- */

/* How long what was removed from inside `directory` can be restored from now on, at the longest. */
static uint32_t longest_inside(const struct store *store, uint64_t directory)
{
    int64_t longest_ns = 0;

    for (uint32_t i = 1; i < index_node_slots(store->index); i++) {
        const struct index_node *n = index_node_at(store->index, i);
        if (!n->deleted || n->parent_id != directory)
            continue;
        int64_t left_ns = over_at(n) - store->now_ns;
        longest_ns = left_ns > longest_ns ? left_ns : longest_ns;
    }
    if (longest_ns > STORE_RECOVERY_MAX_S * SECOND_NS) /* the clock was set back */
        return STORE_RECOVERY_MAX_S;
    return (uint32_t)((longest_ns + SECOND_NS - 1) / SECOND_NS);
}

enum store_err store_remove(struct store *store, const char *path, uint32_t recovery_s)
{
    struct node_record record;
    struct target target;

    if (recovery_s > STORE_RECOVERY_MAX_S)
        return fault(STORE_ERR_LIMIT, "remove", NULL, "ten years are the longest recovery window");
    enum store_err err = change_find(store, path, &target);
    if (err)
        return err;
    if (target.node == NULL)
        return fault(STORE_ERR_NOT_FOUND, "remove", NULL, NULL);
    if (target.parent == NULL)
        return fault(STORE_ERR_INVALID, "remove", NULL, "it is the root directory");
    if (index_first_child(target.node))
        return fault(STORE_ERR_NOT_EMPTY, "remove", NULL, NULL);
    err = node_read(store, target.node->id, &record);
    if (err)
        return err;
    if (recovery_s > 0 && record.kind == STORE_DIRECTORY) {
        uint32_t inside_s = longest_inside(store, record.id);
        recovery_s = inside_s > recovery_s ? inside_s : recovery_s;
    }
    record.deleted_ns = record.changed_ns = store->now_ns;
    record.purge_ns = store->now_ns + recovery_s * SECOND_NS;
    audit_note(store, AUDIT_REMOVE, path, 0, "can be restored for %u s", recovery_s);
    return write_node(store, &record);
}

/* Whether `n` was removed from the place `target`. */
static bool deleted_from(const struct index *index, const struct index_node *n,
                         const struct target *target)
{
    return n->deleted && n->parent_id == target->parent->id && n->name_len == target->name_len &&
           memcmp(index_name(index, n), target->name, target->name_len) == 0;
}

/* The place of something that was removed; there may be something new by now. */
static enum store_err find_deleted_place(struct store *store, const char *path,
                                         struct target *ret_target)
{
    enum store_err err = change_find(store, path, ret_target);
    if (!err && ret_target->parent == NULL)
        err = fault(STORE_ERR_INVALID, "find", NULL, "it is the root directory");
    return err;
}

enum store_err store_restore(struct store *store, const char *path)
{
    struct node_record record;
    struct target target;
    const struct index_node *latest = NULL;
    bool any_over = false;

    enum store_err err = find_deleted_place(store, path, &target);
    if (err)
        return err;
    for (uint32_t i = 1; i < index_node_slots(store->index); i++) {
        const struct index_node *n = index_node_at(store->index, i);
        if (!deleted_from(store->index, n, &target))
            continue;
        any_over |= is_over(store, n);
        if (!is_over(store, n) && (latest == NULL || n->deleted_ns > latest->deleted_ns ||
                                   (n->deleted_ns == latest->deleted_ns && n->id > latest->id)))
            latest = n;
    }
    if (latest == NULL && any_over)
        return fault(STORE_ERR_EXPIRED, "restore", NULL, NULL);
    if (latest == NULL)
        return target.node ? fault(STORE_ERR_EXISTS, "restore", NULL, NULL)
                           : fault(STORE_ERR_NOT_FOUND, "restore", NULL, NULL);
    if (target.node)
        return fault(STORE_ERR_EXISTS, "restore", NULL, NULL);
    if (index_depth(store->index, target.parent) >= STORE_DEPTH_MAX)
        return fault(STORE_ERR_LIMIT, "restore", NULL, "a path has at most 32 components");
    err = node_read(store, latest->id, &record);
    if (err)
        return err;
    record.deleted_ns = record.purge_ns = 0;
    record.changed_ns = record.linked_ns = store->now_ns;
    audit_note(store, AUDIT_RESTORE, path, 0, NULL);
    return write_node(store, &record);
}

/* ---- Purging ------------------------------------------------------------- */

/* Destroy a node with its versions; nothing may be in it. */
static enum store_err purge_alone(struct store *store, const struct index_node *node)
{
    char path[STORE_PATH_MAX];
    enum store_err err = STORE_OK;
    uint64_t id = node->id;

    store->purged = true;
    audit_note(store, AUDIT_PURGE, path_of(store->index, node, path), 0, NULL);
    for (uint32_t v = index_first_version(node); v != 0 && !err;) {
        const struct index_version *version = index_version_at(store->index, v);
        v = version->next;
        err = write_deletion(store, TABLE_VERSION, version->id);
    }
    if (!err)
        err = write_deletion(store, TABLE_NODE, id);
    if (!err)
        err = index_remove_node(store->index, id);
    return err;
}

static enum store_err purge_node(struct store *store, const struct index_node *node)
{
    enum store_err err = STORE_OK;
    uint64_t id = node->id;

    /* What was removed from inside a removed directory can't be restored without it. */
    for (uint32_t i = 1; i < index_node_slots(store->index) && !err; i++) {
        const struct index_node *n = index_node_at(store->index, i);
        if (node->kind == STORE_DIRECTORY && n->kind != 0 && n->parent_id == id)
            err = purge_node(store, n);
    }
    return err ? err : purge_alone(store, node);
}

enum store_err store_purge(struct store *store, const char *path)
{
    struct target target;
    bool found = false;

    enum store_err err = find_deleted_place(store, path, &target);
    for (uint32_t i = 1; !err && i < index_node_slots(store->index); i++) {
        const struct index_node *n = index_node_at(store->index, i);
        if (!deleted_from(store->index, n, &target))
            continue;
        found = true;
        err = purge_node(store, n);
    }
    if (err)
        return err;
    if (!found)
        return target.node ? fault(STORE_ERR_EXISTS, "purge", NULL, NULL)
                           : fault(STORE_ERR_NOT_FOUND, "purge", NULL, NULL);
    return change_touch_directory(store, target.parent->id, target.parent->directory.mtime_ns);
}

/* A node that is due, and in how many removed directories it is. */
struct due {
    uint64_t id;
    unsigned depth;
};

/* Whether a node is due; with a directory goes what is in it, whatever its own window. Not what
 * this transaction has removed: nobody would hear of a name that goes with its row. */
static bool find_due(const struct store *store, const struct index_node *n, struct due *ret_due)
{
    bool due = false;

    *ret_due = (struct due){.id = n->id};
    while (n && n->deleted && ret_due->depth <= STORE_DEPTH_MAX) {
        if (n->deleted_ns == store->now_ns)
            return false;
        due |= is_over(store, n);
        ret_due->depth++;
        n = index_find_node(store->index, n->parent_id);
    }
    return due;
}

static int deepest_first(const void *a, const void *b)
{
    const struct due *x = a;
    const struct due *y = b;

    if (x->depth != y->depth)
        return x->depth > y->depth ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* out: ret_due  room for all that are deleted; those that are due, what is in a directory before it
 */
static size_t collect_due(const struct store *store, struct due *ret_due)
{
    size_t count = 0;

    for (uint32_t i = 1; i < index_node_slots(store->index); i++) {
        const struct index_node *n = index_node_at(store->index, i);
        if (n->deleted && find_due(store, n, &ret_due[count]))
            count++;
    }
    qsort(ret_due, count, sizeof *ret_due, deepest_first);
    return count;
}

static enum store_err purge_one(struct store *store, uint64_t id)
{
    const struct index_node *n = index_find_node(store->index, id);
    uint64_t parent_id = n->parent_id;
    enum store_err err = purge_alone(store, n);
    const struct index_node *parent = index_find_node(store->index, parent_id);

    return err ? err : change_touch_directory(store, parent_id, parent->directory.mtime_ns);
}

enum store_err store_purge_due(struct store *store, size_t max, size_t *ret_count)
{
    enum store_err err = STORE_OK;
    size_t i = 0;

    *ret_count = 0;
    if (!store->writing)
        return fault(STORE_ERR_INVALID, "purge", NULL, "outside a transaction");
    size_t deleted = index_stats(store->index)->deleted;
    if (deleted == 0)
        return STORE_OK;
    struct due *due = calloc(deleted + 1, sizeof *due); /* find_due() writes one too far */
    if (due == NULL)
        return fault(STORE_ERR_NO_MEMORY, "purge", NULL, NULL);
    size_t count = collect_due(store, due);
    for (; i < count && i < max && !err; i++)
        err = purge_one(store, due[i].id);
    free(due);
    *ret_count = i;
    return err;
}
