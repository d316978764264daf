/*
 * The versions of secrets in the index: each node's list, and the rows that have been seen.
 */
#include "fault.h"
#include "index_state.h"

static enum store_err take_version_slot(struct index *index, uint32_t *ret_slot)
{
    uint32_t slot = index->free_version;
    if (slot != 0) {
        index->free_version = index->versions[slot].next;
    } else {
        enum store_err err = index_reserve(&index->versions, &index->version_capacity,
                                           index->version_slots, sizeof *index->versions);
        if (err)
            return err;
        slot = index->version_slots++;
    }
    index->versions[slot] = (struct index_version){0};
    *ret_slot = slot;
    return STORE_OK;
}

static void drop_version(struct index *index, uint32_t slot)
{
    struct index_version *v = &index->versions[slot];
    if (v->has_row) {
        multiset_subtract(&index->hash, &v->hash);
        index->rows[TABLE_VERSION]--;
    }
    slotmap_remove(&index->versions_by_id, slot);
    *v = (struct index_version){.next = index->free_version};
    index->free_version = slot;
}

static enum store_err add_version(struct index *index, uint32_t node,
                                  const struct store_version *version, uint32_t *ret_slot)
{
    uint32_t slot = 0;
    if (index_node_slot(index, version->id) != 0)
        return fault_row(STORE_ERR_INTEGRITY, "index", "version", version->id, "a node has its id");
    enum store_err err = take_version_slot(index, &slot);
    if (err)
        return err;
    index->versions[slot] = (struct index_version){.id = version->id,
                                                   .created_ns = version->created_ns,
                                                   .node = node,
                                                   .number = version->number,
                                                   .size_bytes = version->size_bytes & 0xffffff};
    err = slotmap_add(&index->versions_by_id, index_hash_id(version->id), slot);
    if (err) {
        index->versions[slot] = (struct index_version){.next = index->free_version};
        index->free_version = slot;
        return err;
    }
    if (index->highest_version < version->id)
        index->highest_version = version->id;
    *ret_slot = slot;
    return STORE_OK;
}

/* The slot of the version with a label, 0 for none; `version` is one that the node lists, or 0. */
static uint32_t labeled(const struct index *index, uint64_t version)
{
    return version ? index_version_slot(index, version) : 0;
}

/* Bring the node's list of versions, newest first, in line with the record's, oldest first. */
enum store_err index_set_versions(struct index *index, uint32_t node,
                                  const struct store_details *details)
{
    struct index_secret *secret = &index->nodes[node].secret;
    uint32_t old = secret->first_version;
    uint32_t list = 0;

    for (uint32_t i = 0; i < details->version_count; i++) {
        const struct store_version *version = &details->versions[i];
        uint32_t slot = index_version_slot(index, version->id);
        if (slot == 0) {
            enum store_err err = add_version(index, node, version, &slot);
            if (err)
                return err;
        } else if (index->versions[slot].node != node || index->versions[slot].listed) {
            return fault_row(STORE_ERR_INTEGRITY, "index", "version", version->id,
                             "it is listed twice");
        }
        index->versions[slot].listed = true;
    }
    while (old != 0) {
        uint32_t next = index->versions[old].next;
        if (!index->versions[old].listed) {
            if (secret->shown == old)
                secret->shown = 0;
            drop_version(index, old);
        }
        old = next;
    }
    for (uint32_t i = 0; i < details->version_count; i++) {
        uint32_t slot = index_version_slot(index, details->versions[i].id);
        index->versions[slot].listed = false;
        index->versions[slot].revoked = details->versions[i].revoked_ns != 0;
        index->versions[slot].next = list;
        list = slot;
    }
    secret->first_version = list;
    secret->current = labeled(index, details->current);
    secret->label_previous = labeled(index, details->previous);
    secret->label_pending = labeled(index, details->pending);
    return STORE_OK;
}

void index_drop_versions(struct index *index, uint32_t first)
{
    while (first != 0) {
        uint32_t next = index->versions[first].next;
        drop_version(index, first);
        first = next;
    }
}

enum store_err index_set_version_row(struct index *index, uint64_t id, const struct multiset *hash)
{
    uint32_t slot = index->next_row;
    if (slot == 0 || slot >= index->version_slots || index->versions[slot].id != id)
        slot = index_version_slot(index, id);
    if (slot == 0 || index->versions[slot].has_row)
        return fault_row(STORE_ERR_INTEGRITY, "index", "version", id,
                         slot ? "it is there twice" : "no secret has it");
    index->next_row = slot + 1;
    index->versions[slot].has_row = true;
    index->versions[slot].hash = *hash;
    multiset_add(&index->hash, hash);
    index->rows[TABLE_VERSION]++;
    return STORE_OK;
}
