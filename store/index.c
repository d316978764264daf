/*
 * Nodes and versions in arrays, three hash tables over them, and an arena for names and ACL
 * entries. See index.h for the two steps of an update.
 */
#include "fault.h"
#include "index_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- Keys of the hash tables --------------------------------------------- */

struct child_key {
    uint32_t parent;
    const char *name;
    size_t name_len;
};

uint64_t index_hash_id(uint64_t id)
{
    id *= 0x9e3779b97f4a7c15u;
    return id ^ id >> 32;
}

static uint64_t hash_child(const struct index *index, uint32_t parent, const char *name, size_t len)
{
    uint64_t h;
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)name, len, index->name_key);
    return h ^ index_hash_id(parent);
}

static uint64_t hash_of_node(const void *owner, uint32_t slot)
{
    return index_hash_id(((const struct index *)owner)->nodes[slot].id);
}

static bool node_matches(const void *owner, uint32_t slot, const void *key)
{
    return ((const struct index *)owner)->nodes[slot].id == *(const uint64_t *)key;
}

static uint64_t hash_of_version(const void *owner, uint32_t slot)
{
    return index_hash_id(((const struct index *)owner)->versions[slot].id);
}

static bool version_matches(const void *owner, uint32_t slot, const void *key)
{
    return ((const struct index *)owner)->versions[slot].id == *(const uint64_t *)key;
}

static uint64_t hash_of_child(const void *owner, uint32_t slot)
{
    const struct index *index = owner;
    const struct index_node *n = &index->nodes[slot];
    return hash_child(index, n->parent, index_name(index, n), n->name_len);
}

static bool child_matches(const void *owner, uint32_t slot, const void *key)
{
    const struct index *index = owner;
    const struct index_node *n = &index->nodes[slot];
    const struct child_key *k = key;
    return n->parent == k->parent && n->name_len == k->name_len &&
           memcmp(index_name(index, n), k->name, k->name_len) == 0;
}

/* ---- Memory -------------------------------------------------------------- */

enum store_err index_new(struct index **ret_index)
{
    struct index *index = calloc(1, sizeof *index);
    if (index == NULL)
        return fault(STORE_ERR_NO_MEMORY, "make", "the index", NULL);
    index->node_slots = index->version_slots = 1;
    slotmap_init(&index->nodes_by_id, index, hash_of_node, node_matches);
    slotmap_init(&index->versions_by_id, index, hash_of_version, version_matches);
    slotmap_init(&index->children, index, hash_of_child, child_matches);
    crypto_shorthash_keygen(index->name_key);
    *ret_index = index;
    return STORE_OK;
}

void index_free(struct index *index)
{
    if (index == NULL)
        return;
    slotmap_release(&index->nodes_by_id);
    slotmap_release(&index->versions_by_id);
    slotmap_release(&index->children);
    free(index->nodes);
    free(index->versions);
    free(index->arena);
    free(index->pending);
    free(index->expiries);
    index_free_rules(index);
    free(index);
}

uint32_t index_arena_bytes(const struct index_node *n)
{
    uint32_t name = (n->name_len + 1u + 3u) & ~3u; /* ACL entries behind it stay aligned */
    return name + n->entry_count * (uint32_t)sizeof(struct policy_entry);
}

/* ---- Asking -------------------------------------------------------------- */

/* What is new has mostly a higher id than all there is, and needs no search. */
uint32_t index_node_slot(const struct index *index, uint64_t id)
{
    if (id > index->highest_node)
        return 0;
    return slotmap_find(&index->nodes_by_id, index_hash_id(id), &id);
}

uint32_t index_version_slot(const struct index *index, uint64_t id)
{
    if (id > index->highest_version)
        return 0;
    return slotmap_find(&index->versions_by_id, index_hash_id(id), &id);
}

const struct index_node *index_node_at(const struct index *index, uint32_t slot)
{
    return slot ? &index->nodes[slot] : NULL;
}

const struct index_version *index_version_at(const struct index *index, uint32_t slot)
{
    return slot ? &index->versions[slot] : NULL;
}

const struct index_node *index_find_node(const struct index *index, uint64_t id)
{
    return index_node_at(index, index_node_slot(index, id));
}

const struct index_version *index_find_version(const struct index *index, uint64_t id)
{
    return index_version_at(index, index_version_slot(index, id));
}

uint32_t index_child_slot(const struct index *index, uint32_t directory, const char *name,
                          size_t name_len, uint64_t *ret_hash)
{
    struct child_key key = {directory, name, name_len};
    *ret_hash = hash_child(index, directory, name, name_len);
    return slotmap_find(&index->children, *ret_hash, &key);
}

const struct index_node *index_find_child(const struct index *index,
                                          const struct index_node *directory, const char *name,
                                          size_t name_len)
{
    uint32_t slot = (uint32_t)(directory - index->nodes);
    uint64_t hash;
    return index_node_at(index, index_child_slot(index, slot, name, name_len, &hash));
}

const struct index_version *index_label(const struct index *index, const struct index_node *node,
                                        enum store_label label)
{
    if (node->kind != STORE_SECRET)
        return NULL;
    switch (label) {
    case STORE_LABEL_CURRENT:
        return index_version_at(index, node->secret.shown);
    case STORE_LABEL_PREVIOUS:
        return index_version_at(index, node->secret.label_previous);
    case STORE_LABEL_PENDING:
        return index_version_at(index, node->secret.label_pending);
    }
    return NULL;
}

const struct index_node *index_root(const struct index *index)
{
    return index_find_node(index, STORE_ROOT_ID);
}

uint32_t index_node_slots(const struct index *index)
{
    return index->node_slots;
}

const char *index_name(const struct index *index, const struct index_node *node)
{
    return (const char *)index->arena + node->name;
}

void index_policy(const struct index *index, const struct index_node *node,
                  struct policy *ret_policy)
{
    size_t entries = node->entry_count * sizeof(struct policy_entry);
    const unsigned char *end = index->arena + node->name + index_arena_bytes(node);

    *ret_policy = policy_make(node->uid, node->gid, node->mode);
    ret_policy->extended = node->extended;
    ret_policy->group_perm = node->group_perm;
    ret_policy->entry_count = node->entry_count;
    memcpy(ret_policy->entries, end - entries, entries);
}

struct multiset index_hash(const struct index *index)
{
    return index->hash;
}

uint64_t index_rows(const struct index *index, enum table table)
{
    return index->rows[table];
}

const struct index_stats *index_stats(const struct index *index)
{
    return &index->stats;
}

unsigned index_depth(const struct index *index, const struct index_node *node)
{
    unsigned depth = 0;
    while (node->linked && depth <= STORE_DEPTH_MAX) {
        node = &index->nodes[node->parent];
        depth++;
    }
    return depth;
}
