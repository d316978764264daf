/*
 * Opening, unlocking and asking. Loading is in load.c, following in feed.c, changing in write.c.
 */
#include "store.h"
#include "clock.h"
#include "fault.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS 1000000000

/* ---- Opening ------------------------------------------------------------- */

enum store_err store_new(struct db *db, struct store **ret_store)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        db_close(db);
        return fault(STORE_ERR_NO_MEMORY, "open", "the store", NULL);
    }
    store->db = db;
    store->watch_fd = -1;
    store->anchor.fd = -1;
    pthread_rwlock_init(&store->lock, NULL);
    pthread_mutex_init(&store->db_lock, NULL);
    *ret_store = store;
    return STORE_OK;
}

static enum store_err visit_uuid(void *arg, const unsigned char uuid[STORE_UUID_BYTES],
                                 const struct row *row)
{
    (void)row;
    memcpy(((struct store *)arg)->uuid, uuid, STORE_UUID_BYTES);
    return STORE_OK;
}

struct slots_visit {
    const struct seal_keys *keys; /* NULL: no hash yet */
    struct slots *slots;
};

static enum store_err visit_slot(void *arg, const struct row *row)
{
    struct slots_visit *v = arg;
    struct slots *slots = v->slots;
    if (slots->count == KEYSLOT_MAX)
        return fault_row(STORE_ERR_INTEGRITY, "read", "slot", row->id, "there are too many");
    enum store_err err =
        record_decode_slot(row->id, row->box, row->box_len, &slots->items[slots->count]);
    if (err)
        return err;
    slots->ids[slots->count++] = row->id;
    if (v->keys) {
        struct multiset hash = seal_row_hash(v->keys, TABLE_SLOT, row);
        multiset_add(&slots->hash, &hash);
    }
    return STORE_OK;
}

enum store_err slots_read(struct store *store, struct slots *ret_slots)
{
    struct slots_visit v = {store->keys.keys.data ? &store->keys : NULL, ret_slots};
    *ret_slots = (struct slots){0};
    return db_each(store->db, TABLE_SLOT, visit_slot, &v);
}

enum store_err store_open(const char *path, enum store_access access, struct store **ret_store)
{
    struct store *store = NULL;
    struct db *db = NULL;
    enum store_err err = db_open(path, access, &db);
    if (!err)
        err = store_new(db, &store);
    if (!err) {
        store->follows = access == STORE_FOLLOW;
        err = db_get_root(db, visit_uuid, store);
    }
    if (!err)
        err = slots_read(store, &store->slots);
    if (err)
        store_close(store);
    else
        *ret_store = store;
    return err;
}

void store_set_progress(struct store *store, store_progress_fn *progress, void *arg)
{
    store->progress = progress;
    store->progress_arg = arg;
}

const char *store_path(const struct store *store)
{
    return db_path(store->db);
}

const unsigned char *store_uuid(const struct store *store)
{
    return store->uuid;
}

bool store_has_slot(const struct store *store, enum store_slot_kind kind)
{
    for (uint32_t i = 0; i < store->slots.count; i++)
        if (store->slots.items[i].kind == kind)
            return true;
    return false;
}

enum store_err store_root_key(struct store *store, const struct store_credential *credential,
                              struct secbuf *ret_root_key, uint64_t *ret_slot)
{
    enum store_err err = fault(STORE_ERR_KEY, "unlock", "the store", "no key slot of this kind");

    for (uint32_t i = 0; i < store->slots.count; i++) {
        if (store->slots.items[i].kind != credential->kind)
            continue;
        err = keyslot_unwrap(store->uuid, store->slots.ids[i], credential, &store->slots.items[i],
                             ret_root_key);
        if (err == STORE_OK && ret_slot)
            *ret_slot = store->slots.ids[i];
        if (err != STORE_ERR_KEY)
            break;
    }
    return err;
}

enum store_err store_unlock_root(struct store *store, const struct secbuf *root_key)
{
    return seal_keys_derive(&store->keys, root_key, store->uuid);
}

enum store_err store_unlock(struct store *store, const struct store_credential *credential)
{
    SECBUF_AUTO struct secbuf root_key = SECBUF_INIT;
    enum store_err err = store_root_key(store, credential, &root_key, NULL);
    return err ? err : store_unlock_root(store, &root_key);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    db_close(store->db);
    index_free(store->index);
    seal_keys_release(&store->keys);
    secbuf_release(&store->scratch);
    if (store->watch_fd >= 0)
        close(store->watch_fd);
    if (store->anchor.fd >= 0)
        close(store->anchor.fd);
    audit_forget(store);
    audit_changes_release(&store->audit);
    pthread_rwlock_destroy(&store->lock);
    pthread_mutex_destroy(&store->db_lock);
    free(store);
}

/* ---- Asking -------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static uint32_t number_of(const struct index_version *version)
{
    return version ? version->number : 0;
}

static struct store_attr attributes(const struct index *index, const struct index_node *n,
                                    const struct index_version *version)
{
    const struct index_version *shown = index_version_at(index, index_shown(n));
    struct store_attr attr = {
        .node = n->id,
        .parent = n->id == STORE_ROOT_ID ? n->id : n->parent_id,
        .kind = (enum store_kind)n->kind,
        .uid = n->uid,
        .gid = n->gid,
        .mode = n->mode,
        .has_acl = n->extended,
        .deleted = n->deleted,
    };
    if (n->deleted &&
        __builtin_add_overflow(n->deleted_ns, (int64_t)n->recovery_s * SECOND_NS, &attr.purge_ns))
        attr.purge_ns = INT64_MAX;
    if (n->kind == STORE_DIRECTORY) {
        attr.subdirs = n->directory.subdirs;
        attr.mtime_ns = n->directory.mtime_ns;
        attr.ctime_ns = later(n->changed_ns, attr.mtime_ns);
        return attr;
    }
    if (version == NULL)
        version = shown;
    if (version) {
        attr.version = version->id;
        attr.current = n->hidden ? 0 : shown->id;
        attr.number = version->number;
        attr.previous_number = number_of(index_version_at(index, n->secret.label_previous));
        attr.pending_number = number_of(index_version_at(index, n->secret.label_pending));
        attr.size_bytes = version->size_bytes;
        attr.revoked = version->revoked;
        attr.expires_ns = index_expires(index, n);
        attr.mtime_ns = version->created_ns;
        attr.ctime_ns = later(n->changed_ns, version->created_ns);
    }
    return attr;
}

enum store_err store_refusal(const struct store_attr *attr)
{
    if (attr->revoked)
        return fault(STORE_ERR_REVOKED, "read", NULL, NULL);
    if (attr->expires_ns && attr->expires_ns <= clock_ns(CLOCK_REALTIME))
        return fault(STORE_ERR_EXPIRED, "read", NULL, NULL);
    return STORE_OK;
}

static enum store_err not_found(void)
{
    return fault(STORE_ERR_NOT_FOUND, "find", NULL, NULL);
}

enum store_err store_usable(const struct store *store)
{
    return store->stale ? fault(store->stale, "read", "the store", "it has to be loaded again")
                        : STORE_OK;
}

bool store_is_stale(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    bool stale = store->stale != STORE_OK;
    pthread_rwlock_unlock(&store->lock);
    return stale;
}

/* A directory of the tree. */
static enum store_err find_directory(const struct store *store, uint64_t id,
                                     const struct index_node **ret_node)
{
    enum store_err err = store_usable(store);
    if (err)
        return err;
    const struct index_node *n = index_find_node(store->index, id);
    if (n == NULL || n->deleted)
        return not_found();
    if (n->kind != STORE_DIRECTORY)
        return fault(STORE_ERR_NOT_DIRECTORY, "find", NULL, NULL);
    *ret_node = n;
    return STORE_OK;
}

enum store_err store_find_id(const struct store *store, uint64_t id,
                             const struct index_node **ret_node,
                             const struct index_version **ret_version)
{
    enum store_err err = store_usable(store);
    if (err)
        return err;
    const struct index_node *n = index_find_node(store->index, id);
    const struct index_version *v = n ? NULL : index_find_version(store->index, id);
    if (v)
        n = index_node_at(store->index, v->node);
    if (n == NULL)
        return not_found();
    *ret_node = n;
    *ret_version = v;
    return STORE_OK;
}

/* What `n` is in the view of `label`; false where it is not there. */
static bool in_view(const struct index *index, const struct index_node *n, enum store_label label,
                    struct store_attr *ret_attr)
{
    const struct index_version *v = index_label(index, n, label);
    if (n->hidden || (v == NULL && n->kind == STORE_SECRET))
        return false;
    *ret_attr = attributes(index, n, v);
    return true;
}

enum store_err store_lookup_label(struct store *store, uint64_t directory, const char *name,
                                  enum store_label label, struct store_attr *ret_attr)
{
    const struct index_node *dir = NULL;
    size_t len = strnlen(name, STORE_NAME_MAX + 1);

    if (!record_name_valid(name, len, directory == STORE_ROOT_ID))
        return fault(STORE_ERR_NAME, "find", NULL, NULL);
    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = find_directory(store, directory, &dir);
    if (!err) {
        const struct index_node *n = index_find_child(store->index, dir, name, len);
        if (n == NULL || !in_view(store->index, n, label, ret_attr))
            err = not_found();
    }
    pthread_rwlock_unlock(&store->lock);
    return err;
}

enum store_err store_lookup(struct store *store, uint64_t directory, const char *name,
                            struct store_attr *ret_attr)
{
    return store_lookup_label(store, directory, name, STORE_LABEL_CURRENT, ret_attr);
}

enum store_err store_stat(struct store *store, uint64_t id, struct store_attr *ret_attr)
{
    const struct index_node *n = NULL;
    const struct index_version *v = NULL;

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store_find_id(store, id, &n, &v);
    if (!err)
        *ret_attr = attributes(store->index, n, v);
    pthread_rwlock_unlock(&store->lock);
    return err;
}

enum store_err store_resolve(struct store *store, const char *path, struct store_attr *ret_attr)
{
    const struct index_node *parent;
    const struct index_node *n = NULL;
    const char *name;
    size_t name_len;

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store_usable(store);
    if (!err)
        err = path_find(store->index, path, &parent, &name, &name_len, &n);
    if (!err && n == NULL)
        err = not_found();
    if (!err)
        *ret_attr = attributes(store->index, n, NULL);
    pthread_rwlock_unlock(&store->lock);
    return err;
}

enum store_err store_policy(struct store *store, uint64_t id, struct policy *ret_policy)
{
    const struct index_node *n = NULL;
    const struct index_version *v;

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store_find_id(store, id, &n, &v);
    if (!err)
        index_policy(store->index, n, ret_policy);
    pthread_rwlock_unlock(&store->lock);
    return err;
}

/* The first entry of `dir` with an id above `after`. Usually `after` is still there, with its
 * neighbour. */
static const struct index_node *entry_after(const struct index *index, const struct index_node *dir,
                                            uint64_t after)
{
    const struct index_node *n = after ? index_find_node(index, after) : NULL;
    if (n && n->linked && index_node_at(index, n->parent) == dir)
        return index_node_at(index, n->next);
    n = index_node_at(index, dir->directory.first_child);
    while (n && n->id <= after)
        n = index_node_at(index, n->next);
    return n;
}

enum store_err store_list_label(struct store *store, uint64_t directory, enum store_label label,
                                uint64_t after, store_visit_fn *visit, void *arg)
{
    const struct index_node *dir = NULL;

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = find_directory(store, directory, &dir);
    if (!err) {
        const struct index *index = store->index;
        const struct index_node *n = entry_after(index, dir, after);
        for (; n; n = index_node_at(index, n->next)) {
            struct store_attr attr;
            if (in_view(index, n, label, &attr) && !visit(arg, index_name(index, n), &attr))
                break;
        }
    }
    pthread_rwlock_unlock(&store->lock);
    return err;
}

enum store_err store_list(struct store *store, uint64_t directory, uint64_t after,
                          store_visit_fn *visit, void *arg)
{
    return store_list_label(store, directory, STORE_LABEL_CURRENT, after, visit, arg);
}

enum store_err store_list_deleted(struct store *store, store_visit_deleted_fn *visit, void *arg)
{
    char path[STORE_PATH_MAX];

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store_usable(store);
    for (uint32_t i = 1; !err && i < index_node_slots(store->index); i++) {
        const struct index_node *n = index_node_at(store->index, i);
        if (!n->deleted)
            continue;
        struct store_attr attr = attributes(store->index, n, NULL);
        if (!visit(arg, path_of(store->index, n, path), &attr, n->deleted_ns))
            break;
    }
    pthread_rwlock_unlock(&store->lock);
    return err;
}

uint64_t store_generation(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    uint64_t generation = store->root.generation;
    pthread_rwlock_unlock(&store->lock);
    return generation;
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    pthread_rwlock_rdlock(&store->lock);
    const struct index_stats *counted = index_stats(store->index);
    *ret_stats = (struct store_stats){
        .generation = store->root.generation,
        .secrets = counted->secrets,
        .directories = counted->directories,
        .deleted = counted->deleted,
        .versions = index_rows(store->index, TABLE_VERSION),
        .value_bytes = counted->value_bytes,
        .slots = store->slots.count,
    };
    memcpy(ret_stats->uuid, store->uuid, STORE_UUID_BYTES);
    pthread_rwlock_unlock(&store->lock);
}

enum store_err store_version_ids(struct store *store, uint64_t node, uint64_t *ret_ids, size_t room,
                                 size_t *ret_count)
{
    const struct index_node *n = NULL;
    const struct index_version *v;
    size_t count = 0;

    pthread_rwlock_rdlock(&store->lock);
    enum store_err err = store_find_id(store, node, &n, &v);
    for (uint32_t slot = err ? 0 : index_first_version(n); slot != 0 && count < room;
         slot = v->next) {
        v = index_version_at(store->index, slot);
        ret_ids[count++] = v->id;
    }
    pthread_rwlock_unlock(&store->lock);
    *ret_count = count;
    return err;
}
