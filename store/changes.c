/*
 * Lists of what has changed, and what only time has changed: secrets that expire.
 */
#include "fault.h"
#include "grow.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

void store_changes_release(struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        free(changes->items[i].name);
    free(changes->items);
    *changes = (struct store_changes)STORE_CHANGES_INIT;
}

enum store_err changes_add(struct store_changes *changes, struct store_change change,
                           const char *name)
{
    struct store_change *items =
        grow(changes->items, changes->count, &changes->capacity, sizeof *items);

    if (items == NULL)
        return fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL);
    changes->items = items;
    change.name = strdup(name);
    if (change.name == NULL)
        return fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL);
    changes->items[changes->count++] = change;
    return STORE_OK;
}

/* ---- Expiry -------------------------------------------------------------- */

int64_t store_next_expiry(struct store *store)
{
    int64_t next_ns;

    pthread_rwlock_rdlock(&store->lock);
    index_next_to_expire(store->index, &next_ns);
    pthread_rwlock_unlock(&store->lock);
    return next_ns;
}

static enum store_err add_expired(const struct index *index, const struct index_node *n,
                                  struct store_changes *changes)
{
    uint64_t current = index_version_at(index, n->secret.current)->id;
    struct store_change change = {.kinds = STORE_CHANGED_POLICY,
                                  .kind = STORE_SECRET,
                                  .node = n->id,
                                  .old_parent = n->parent_id,
                                  .new_parent = n->parent_id,
                                  .old_version = current,
                                  .new_version = current};
    return changes_add(changes, change, index_name(index, n));
}

enum store_err store_take_expired(struct store *store, int64_t now_ns,
                                  struct store_changes *ret_changes)
{
    enum store_err err = STORE_OK;

    pthread_rwlock_wrlock(&store->lock);
    while (!err) {
        int64_t when_ns;
        const struct index_node *n = index_next_to_expire(store->index, &when_ns);
        if (n == NULL || when_ns > now_ns)
            break;
        err = add_expired(store->index, n, ret_changes);
        if (!err)
            index_note_expired(store->index);
    }
    pthread_rwlock_unlock(&store->lock);
    return err;
}

void store_expire_again(struct store *store)
{
    pthread_rwlock_wrlock(&store->lock);
    index_expire_again(store->index);
    pthread_rwlock_unlock(&store->lock);
}
