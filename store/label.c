/*
 * Labels: movable names of a secret's versions, in the secret's record. Moving one writes no value;
 * only with `current` the directory entry changes. FORMAT.md, "Node record".
 */
#include "change.h"
#include "fault.h"
#include "write.h"

void change_make_current(const struct store *store, struct node_record *record, uint64_t version)
{
    struct store_details *d = &record->details;

    d->previous = d->current;
    d->current = version;
    if (d->pending == version)
        d->pending = 0;
    record->changed_ns = record->linked_ns = store->now_ns;
}

const struct store_version *store_version_of(const struct store_details *details, uint64_t id)
{
    for (uint32_t i = 0; i < details->version_count; i++)
        if (details->versions[i].id == id)
            return &details->versions[i];
    return NULL;
}

const struct store_version *store_version_numbered(const struct store_details *details,
                                                   uint32_t number)
{
    for (uint32_t i = 0; i < details->version_count; i++)
        if (details->versions[i].number == number)
            return &details->versions[i];
    return NULL;
}

/* ---- Moving -------------------------------------------------------------- */

static enum store_err make_current(struct store *store, const char *path,
                                   struct node_record *record, const struct store_version *v)
{
    if (v == NULL)
        return fault(STORE_ERR_NO_VERSION, "roll back", NULL, NULL);
    if (v->revoked_ns)
        return fault(STORE_ERR_REVOKED, "roll back", NULL, NULL);
    if (v->id == record->details.current)
        return STORE_OK;
    change_make_current(store, record, v->id);
    audit_note(store, AUDIT_ROLLBACK, path, v->number, NULL);
    return write_node(store, record);
}

enum store_err store_set_current(struct store *store, const char *path, uint32_t number)
{
    struct node_record record;
    const struct store_details *d = &record.details;

    enum store_err err = change_find_secret(store, path, &record);
    if (err)
        return err;
    return make_current(store, path, &record,
                        number ? store_version_numbered(d, number)
                               : store_version_of(d, d->previous));
}

/* `number` 0 takes the label away. */
static enum store_err move_label(struct store *store, const char *path, struct node_record *record,
                                 enum store_label label, uint32_t number)
{
    bool pending = label == STORE_LABEL_PENDING;
    uint64_t *labeled = pending ? &record->details.pending : &record->details.previous;
    const struct store_version *v =
        number ? store_version_numbered(&record->details, number) : NULL;
    uint64_t id = v ? v->id : 0;

    if (number && v == NULL)
        return fault(STORE_ERR_NO_VERSION, "label", NULL, NULL);
    if (v && v->id == record->details.current)
        return fault(STORE_ERR_INVALID, "label", "the version", "it is the current one");
    if (v && v->revoked_ns)
        return fault(STORE_ERR_REVOKED, "label", NULL, NULL);
    if (*labeled == id)
        return STORE_OK;
    *labeled = id;
    record->changed_ns = store->now_ns;
    audit_note(store, AUDIT_LABEL, path, number, "%s%s", pending ? "pending" : "previous",
               number ? "" : " taken away");
    return write_node(store, record);
}

enum store_err store_set_label(struct store *store, const char *path, enum store_label label,
                               uint32_t number)
{
    struct node_record record;
    const struct store_details *d = &record.details;

    enum store_err err = change_find_secret(store, path, &record);
    if (err)
        return err;
    switch (label) {
    case STORE_LABEL_CURRENT:
        if (number == 0)
            return fault(STORE_ERR_INVALID, "label", "the version", "one has to be current");
        return make_current(store, path, &record, store_version_numbered(d, number));
    case STORE_LABEL_PREVIOUS:
    case STORE_LABEL_PENDING:
        return move_label(store, path, &record, label, number);
    }
    return fault(STORE_ERR_INVALID, "label", "the version", "there is no such label");
}

/* ---- A version that is to become current --------------------------------- */

enum store_err store_put_pending(struct store *store, const char *path, const struct secbuf *value,
                                 uint32_t *ret_number)
{
    struct node_record record;
    const struct store_details *d = &record.details;
    bool same = false;

    if (value->len > STORE_VALUE_MAX)
        return fault(STORE_ERR_LIMIT, "store", "the value", "it is larger than 1 MiB");
    enum store_err err = change_find_secret(store, path, &record);
    if (err)
        return err;
    const struct store_version *pending = store_version_of(d, d->pending);
    if (pending && pending->revoked_ns == 0)
        err = change_same_value(store, d->pending, value, &same);
    if (!err && !same)
        err = change_add_version(store, &record, STORE_LABEL_PENDING, value);
    if (!err && !same)
        audit_note(store, AUDIT_PUT, path, store_version_of(d, d->pending)->number, "pending");
    if (!err)
        *ret_number = store_version_of(d, d->pending)->number;
    return err;
}
