/*
 * Holding names and showing them, one by one: for a follower that does more to swap a name than
 * answer differently.
 */
#include "fault.h"
#include "state.h"

#include <string.h>

void store_hold_names(struct store *store, uint64_t first)
{
    pthread_rwlock_wrlock(&store->lock);
    index_hold_names(store->index, first);
    pthread_rwlock_unlock(&store->lock);
}

uint64_t store_next_id(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    uint64_t id = store->root.next_id;
    pthread_rwlock_unlock(&store->lock);
    return id;
}

bool store_is_held(struct store *store, uint64_t node)
{
    pthread_rwlock_rdlock(&store->lock);
    const struct index_node *n = index_find_node(store->index, node);
    bool held = n && (n->hidden || index_shown(n) != index_current(n));
    pthread_rwlock_unlock(&store->lock);
    return held;
}

static bool has_name(const struct index *index, const struct index_node *n, uint64_t directory,
                     const char *name)
{
    return !n->deleted && n->parent_id == directory && strcmp(index_name(index, n), name) == 0;
}

enum store_err store_show(struct store *store, uint64_t id, uint64_t directory, const char *name)
{
    const struct index_node *n = NULL;
    const struct index_version *v = NULL;

    pthread_rwlock_wrlock(&store->lock);
    enum store_err err = store_find_id(store, id, &n, &v);
    if (!err && index_version_at(store->index, index_current(n)) == v &&
        (name == NULL || has_name(store->index, n, directory, name)))
        index_show(store->index, n);
    else if (!err)
        err = fault(STORE_ERR_NOT_FOUND, "show", NULL, NULL);
    pthread_rwlock_unlock(&store->lock);
    return err;
}

/* Write the path of `n` to the end of `path`, from behind. out: ret_path  where it begins */
static enum store_err path_up(const struct index *index, uint64_t top, const struct index_node *n,
                              char path[STORE_PATH_MAX], const char **ret_path)
{
    size_t at = STORE_PATH_MAX - 1;
    bool held = false;

    path[at] = '\0';
    while (n && n->id != top && n->id != STORE_ROOT_ID && at > n->name_len) {
        if (path[at] != '\0')
            path[--at] = '/';
        at -= n->name_len;
        memcpy(path + at, index_name(index, n), n->name_len);
        n = index_find_node(index, n->parent_id);
        held |= n && n->hidden;
    }
    *ret_path = path + at;
    if (n == NULL || n->id != top)
        return fault(STORE_ERR_INVALID, "find", NULL, NULL);
    return held ? fault(STORE_ERR_NOT_FOUND, "find", NULL, NULL) : STORE_OK;
}

enum store_err store_path_below(struct store *store, uint64_t top, uint64_t node,
                                char ret_path[STORE_PATH_MAX])
{
    const char *path;

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store_usable(store);
    if (!err)
        err = path_up(store->index, top, index_find_node(store->index, node), ret_path, &path);
    pthread_rwlock_unlock(&store->lock);
    if (!err)
        memmove(ret_path, path, strlen(path) + 1);
    return err;
}
