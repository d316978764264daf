/*
 * What the fields of a node's record must be to each other. FORMAT.md, "Node record".
 */
#include "record.h"

bool record_label_valid(const struct store_details *d, uint64_t version)
{
    bool listed = version == 0;

    for (uint32_t i = 0; i < d->version_count; i++)
        listed |= version == d->versions[i].id;
    return listed && version != d->current;
}

bool record_versions_valid(const struct store_details *d)
{
    bool current = false;

    for (uint32_t i = 0; i < d->version_count; i++) {
        const struct store_version *v = &d->versions[i];
        if (v->id <= STORE_ROOT_ID || v->number == 0 || v->number >= d->next_number ||
            v->size_bytes > STORE_VALUE_MAX)
            return false;
        if (i > 0 && (v->number <= v[-1].number || v->id <= v[-1].id))
            return false;
        current |= v->id == d->current;
    }
    return current && record_label_valid(d, d->previous);
}

bool record_place_valid(const struct node_record *node)
{
    if (node->id == STORE_ROOT_ID)
        return node->kind == STORE_DIRECTORY && node->parent == 0 && node->name_len == 0 &&
               node->deleted_ns == 0;
    return node->id > STORE_ROOT_ID && node->parent >= STORE_ROOT_ID && node->parent != node->id &&
           record_name_valid(node->name, node->name_len, node->parent == STORE_ROOT_ID);
}
