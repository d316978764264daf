/*
 * The inside of the index, shared by index.c (asking) and index_update.c (changing). Private to
 * them.
 */
#ifndef STORE_INDEX_STATE_H
#define STORE_INDEX_STATE_H

#include "index.h"
#include "slotmap.h"

#include <sodium.h>

/* Nodes set but not yet linked. */
struct pending {
    uint32_t slot;
    int64_t linked_ns;
};

/* A node that expires. */
struct expiry {
    int64_t when_ns;
    uint32_t node; /* its slot */
};

/* The rules of a node: the texts of one kind behind those of the other. */
struct index_rules {
    uint32_t node; /* its slot */
    uint16_t bytes[STORE_RULE_KINDS];
    char *text;
};

struct index {
    struct index_node *nodes; /* slot 0 is unused */
    uint32_t node_slots;
    uint32_t node_capacity;
    uint32_t free_node; /* list of free slots, through `next` */

    struct index_version *versions;
    uint32_t version_slots;
    uint32_t version_capacity;
    uint32_t free_version;

    unsigned char *arena;
    uint32_t arena_used;
    uint32_t arena_capacity;
    uint32_t arena_garbage;

    struct slotmap nodes_by_id;
    struct slotmap versions_by_id;
    struct slotmap children; /* by parent and name */
    uint64_t highest_node;   /* no id there has been is above it */
    uint64_t highest_version;
    uint32_t next_row; /* the version whose row is likely to come next */
    unsigned char name_key[crypto_shorthash_KEYBYTES];

    struct pending *pending;
    uint32_t pending_count;
    uint32_t pending_capacity;

    struct expiry *expiries; /* place 0 is unused; a heap up to `expiries_due`, then those noted */
    uint32_t expiries_due;
    uint32_t expiries_count;
    uint32_t expiries_capacity;

    struct index_rules *rules; /* by slots */
    uint32_t rules_count;
    uint32_t rules_capacity;

    bool holding; /* index_hold_names() */

    struct multiset hash;
    uint64_t rows[TABLE_END];
    struct index_stats stats;
};

/* The slot of a node or version by its id; 0 if there is none. */
uint32_t index_node_slot(const struct index *index, uint64_t id);
uint32_t index_version_slot(const struct index *index, uint64_t id);

/* The hash of an id, and the slot of the child with a name; 0 if there is none, and in any case the
 * hash of that name there. */
uint64_t index_hash_id(uint64_t id);
uint32_t index_child_slot(const struct index *index, uint32_t directory, const char *name,
                          size_t name_len, uint64_t *ret_hash);

/* Make room for element `need` (counted from 0) of the array whose pointer is at `array_address`.
 * errors: NO_MEMORY, LIMIT */
STORE_CHECKED enum store_err index_reserve(void *array_address, uint32_t *capacity, uint64_t need,
                                           size_t element_bytes);

/* Bring a secret's list of versions in line with its record; those that it doesn't list any more
 * are dropped with their rows' hashes. errors: NO_MEMORY, INTEGRITY (an id that is something else)
 */
STORE_CHECKED enum store_err index_set_versions(struct index *index, uint32_t node,
                                                const struct store_details *details);

/* Drop a whole list, from `first` on. */
void index_drop_versions(struct index *index, uint32_t first);

/* Set when a secret expires; 0: never. errors: NO_MEMORY, never for 0 */
STORE_CHECKED enum store_err index_set_expiry(struct index *index, uint32_t slot, int64_t when_ns);

void index_remove_expiry(struct index *index, uint32_t slot);

/* Set a node's rules, in the place of those it had. errors: NO_MEMORY, never for none */
STORE_CHECKED enum store_err index_set_rules(struct index *index, uint32_t slot,
                                             const struct store_rules *rules);

void index_remove_rules(struct index *index, uint32_t slot);
void index_free_rules(struct index *index);

/* The bytes of a node's name and ACL entries in the arena. */
uint32_t index_arena_bytes(const struct index_node *node);

#endif
