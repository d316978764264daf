/*
 * The operations on paths, inside a transaction: each finds its node, changes the record, writes
 * it. Removing and what comes after it is in removed.c.
 */
#include "change.h"
#include "fault.h"
#include "write.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DIRECTORY_MODE 0755
#define SECRET_MODE 0400

/* ---- Finding what to change ---------------------------------------------- */

enum store_err change_find(struct store *store, const char *path, struct target *ret)
{
    *ret = (struct target){0};
    if (!store->writing)
        return fault(STORE_ERR_INVALID, "change", "the store", "outside a transaction");
    enum store_err err =
        path_find(store->index, path, &ret->parent, &ret->name, &ret->name_len, &ret->node);
    if (!err && ret->parent && ret->parent->kind != STORE_DIRECTORY)
        err = fault(STORE_ERR_NOT_DIRECTORY, "find", NULL, NULL);
    return err;
}

enum store_err change_find_node(struct store *store, const char *path,
                                struct node_record *ret_record)
{
    struct target target;
    enum store_err err = change_find(store, path, &target);
    if (err)
        return err;
    if (target.node == NULL)
        return fault(STORE_ERR_NOT_FOUND, "find", NULL, NULL);
    return node_read(store, target.node->id, ret_record);
}

enum store_err change_find_secret(struct store *store, const char *path,
                                  struct node_record *ret_record)
{
    enum store_err err = change_find_node(store, path, ret_record);
    if (!err && ret_record->kind == STORE_DIRECTORY)
        err = fault(STORE_ERR_IS_DIRECTORY, "change", NULL, NULL);
    return err;
}

/* A record for a new node at `target`, with an id of its own. */
static enum store_err new_record(struct store *store, const struct target *target,
                                 enum store_kind kind, uint16_t mode,
                                 struct node_record *ret_record)
{
    if (target->node || target->parent == NULL)
        return fault(STORE_ERR_EXISTS, "make", NULL, NULL);
    if (index_depth(store->index, target->parent) >= STORE_DEPTH_MAX)
        return fault(STORE_ERR_LIMIT, "make", NULL, "a path has at most 32 components");
    *ret_record = (struct node_record){.id = store->to.next_id++,
                                       .kind = kind,
                                       .parent = target->parent->id,
                                       .name_len = target->name_len,
                                       .created_ns = store->now_ns,
                                       .changed_ns = store->now_ns,
                                       .linked_ns = store->now_ns,
                                       .policy = policy_make(0, 0, mode)};
    memcpy(ret_record->name, target->name, target->name_len);
    ret_record->details.created_ns = store->now_ns;
    return STORE_OK;
}

/* ---- Operations ---------------------------------------------------------- */

enum store_err store_mkdir(struct store *store, const char *path)
{
    struct node_record record;
    struct target target;
    enum store_err err = change_find(store, path, &target);
    if (!err)
        err = new_record(store, &target, STORE_DIRECTORY, DIRECTORY_MODE, &record);
    if (err)
        return err;
    record.mtime_ns = store->now_ns;
    audit_note(store, AUDIT_MKDIR, path, 0, NULL);
    return write_node(store, &record);
}

static const struct store_version *current_version(const struct store_details *d)
{
    return store_version_of(d, d->current);
}

enum store_err change_same_value(struct store *store, uint64_t version, const struct secbuf *value,
                                 bool *ret_same)
{
    struct secbuf *present = &store->scratch;
    enum store_err err = version_read(store, version, present);
    if (!err)
        *ret_same = present->len == value->len &&
                    (value->len == 0 || sodium_memcmp(present->data, value->data, value->len) == 0);
    secbuf_wipe(present);
    return err;
}

static bool has_label(const struct store_details *d, uint64_t version)
{
    return version == d->current || version == d->previous || version == d->pending;
}

/* Make room for one more version: the oldest without a label goes. */
static enum store_err prune(struct store *store, struct store_details *d)
{
    uint32_t oldest = 0;
    if (d->version_count < STORE_VERSIONS_KEPT)
        return STORE_OK;
    while (has_label(d, d->versions[oldest].id))
        oldest++;
    uint64_t id = d->versions[oldest].id;
    d->version_count--;
    memmove(&d->versions[oldest], &d->versions[oldest + 1],
            (d->version_count - oldest) * sizeof d->versions[0]);
    return write_deletion(store, TABLE_VERSION, id);
}

enum store_err change_add_version(struct store *store, struct node_record *record,
                                  enum store_label label, const struct secbuf *value)
{
    struct store_details *d = &record->details;
    if (d->next_number == UINT32_MAX)
        return fault(STORE_ERR_LIMIT, "make", "the version", "its number is the last one");
    struct store_version version = {.id = store->to.next_id++,
                                    .number = d->next_number++,
                                    .size_bytes = (uint32_t)value->len,
                                    .created_ns = store->now_ns};
    record->changed_ns = store->now_ns;
    if (label == STORE_LABEL_PENDING)
        d->pending = version.id;
    else
        change_make_current(store, record, version.id);
    /* What has lost its label may be what goes. */
    enum store_err err = prune(store, d);
    if (err)
        return err;
    d->versions[d->version_count++] = version;
    return write_version(store, record, value);
}

enum store_err store_put(struct store *store, const char *path, const struct secbuf *value,
                         bool force, uint32_t *ret_number)
{
    struct node_record record;
    struct target target;
    bool same = false;

    if (value->len > STORE_VALUE_MAX)
        return fault(STORE_ERR_LIMIT, "store", "the value", "it is larger than 1 MiB");
    enum store_err err = change_find(store, path, &target);
    if (err)
        return err;
    if (target.node && target.node->kind == STORE_DIRECTORY)
        return fault(STORE_ERR_IS_DIRECTORY, "store", NULL, NULL);
    if (target.node == NULL) {
        err = new_record(store, &target, STORE_SECRET, SECRET_MODE, &record);
        record.details.next_number = 1;
    } else {
        err = node_read(store, target.node->id, &record);
        if (!err && !force && current_version(&record.details)->revoked_ns == 0)
            err = change_same_value(store, record.details.current, value, &same);
    }
    if (!err && !same)
        err = change_add_version(store, &record, STORE_LABEL_CURRENT, value);
    if (!err && !same)
        audit_note(store, AUDIT_PUT, path, current_version(&record.details)->number, NULL);
    if (!err)
        *ret_number = current_version(&record.details)->number;
    return err;
}

enum store_err store_revoke(struct store *store, const char *path, uint32_t number)
{
    struct node_record record;
    struct store_details *d = &record.details;
    bool found = number == 0;
    bool changed = false;

    enum store_err err = change_find_secret(store, path, &record);
    if (err)
        return err;
    for (uint32_t i = 0; i < d->version_count; i++) {
        if (number && d->versions[i].number != number)
            continue;
        found = true;
        if (d->versions[i].revoked_ns == 0) {
            d->versions[i].revoked_ns = store->now_ns;
            changed = true;
        }
    }
    if (!found)
        return fault(STORE_ERR_NO_VERSION, "revoke", NULL, NULL);
    record.changed_ns = store->now_ns;
    if (changed)
        audit_note(store, AUDIT_REVOKE, path, number, number ? NULL : "all versions");
    return changed ? write_node(store, &record) : STORE_OK;
}

static void note_expiry(struct store *store, const char *path, int64_t expires_ns)
{
    time_t when = (time_t)(expires_ns / 1000000000);
    char text[32] = "never";
    struct tm tm;

    if (expires_ns && gmtime_r(&when, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    audit_note(store, AUDIT_EXPIRE, path, 0, "%s", text);
}

enum store_err store_set_expiry(struct store *store, const char *path, int64_t expires_ns)
{
    struct node_record record;

    if (expires_ns < 0)
        return fault(STORE_ERR_INVALID, "set", "the time of expiry", "it is before 1970");
    enum store_err err = change_find_secret(store, path, &record);
    if (err || record.details.expires_ns == expires_ns)
        return err;
    record.details.expires_ns = expires_ns;
    record.changed_ns = store->now_ns;
    note_expiry(store, path, expires_ns);
    return write_node(store, &record);
}

enum store_err store_set_policy(struct store *store, const char *path, const struct policy *policy)
{
    struct node_record record;
    if (!policy_valid(policy))
        return fault(STORE_ERR_INVALID, "set", "the policy", NULL);
    enum store_err err = change_find_node(store, path, &record);
    if (err || policy_equal(&record.policy, policy))
        return err;
    audit_note_policy(store, path, &record.policy, policy);
    record.policy = *policy;
    record.changed_ns = store->now_ns;
    return write_node(store, &record);
}

enum store_err store_set_description(struct store *store, const char *path, const char *description)
{
    struct node_record record;
    if (strnlen(description, STORE_DESCRIPTION_MAX + 1) > STORE_DESCRIPTION_MAX)
        return fault(STORE_ERR_LIMIT, "set", "the description", "it is longer than 1024 bytes");
    if (!record_description_valid(description))
        return fault(STORE_ERR_INVALID, "set", "the description",
                     "it must be UTF-8 without control characters");
    enum store_err err = change_find_node(store, path, &record);
    if (err || strcmp(record.details.description, description) == 0)
        return err;
    snprintf(record.details.description, sizeof record.details.description, "%s", description);
    audit_note(store, AUDIT_DESCRIBE, path, 0, NULL);
    record.changed_ns = store->now_ns;
    return write_node(store, &record);
}

enum store_err change_touch_directory(struct store *store, uint64_t id, int64_t when_ns)
{
    struct node_record record;
    enum store_err err = node_read(store, id, &record);
    if (err)
        return err;
    record.mtime_ns = when_ns;
    return write_node(store, &record);
}

/* How many levels of entries are below `top`; 0 for a secret or an empty directory. */
static unsigned height(const struct index *index, const struct index_node *top)
{
    unsigned deepest = 0;
    unsigned depth = 0;
    const struct index_node *n = top;

    for (;;) {
        if (index_first_child(n)) {
            n = index_node_at(index, index_first_child(n));
            deepest = ++depth > deepest ? depth : deepest;
            continue;
        }
        while (n != top && n->next == 0) {
            n = index_node_at(index, n->parent);
            depth--;
        }
        if (n == top)
            return deepest;
        n = index_node_at(index, n->next);
    }
}

static enum store_err check_move(const struct index *index, const struct index_node *node,
                                 const struct target *to)
{
    if (to->node || to->parent == NULL)
        return fault(STORE_ERR_EXISTS, "move", NULL, NULL);
    for (const struct index_node *n = to->parent; n; n = index_node_at(index, n->parent))
        if (n == node)
            return fault(STORE_ERR_INVALID, "move", NULL, "a directory can't go into itself");
    if (index_depth(index, to->parent) + 1 + height(index, node) > STORE_DEPTH_MAX)
        return fault(STORE_ERR_LIMIT, "move", NULL, "a path has at most 32 components");
    return STORE_OK;
}

enum store_err store_move(struct store *store, const char *from, const char *to)
{
    struct target source;
    struct target target;
    struct node_record record;

    enum store_err err = change_find(store, from, &source);
    if (err)
        return err;
    if (source.node == NULL)
        return fault(STORE_ERR_NOT_FOUND, "move", NULL, NULL);
    if (source.parent == NULL)
        return fault(STORE_ERR_INVALID, "move", NULL, "it is the root directory");
    err = change_find(store, to, &target);
    if (!err)
        err = check_move(store->index, source.node, &target);
    if (!err)
        err = node_read(store, source.node->id, &record);
    if (err)
        return err;
    uint64_t old_parent = record.parent;
    record.parent = target.parent->id;
    record.name_len = target.name_len;
    memset(record.name, 0, sizeof record.name);
    memcpy(record.name, target.name, target.name_len);
    record.changed_ns = record.linked_ns = store->now_ns;
    audit_note(store, AUDIT_MOVE, from, 0, "to %s", to);
    err = write_node(store, &record);
    if (!err && old_parent != record.parent)
        err = change_touch_directory(store, old_parent, store->now_ns);
    return err;
}
