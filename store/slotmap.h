/*
 * An open-addressing hash table from keys to slots, 5 bytes an entry. The keys live with the things
 * that the slots name, so whoever owns them compares and hashes. Private; used by the index.
 */
#ifndef STORE_SLOTMAP_H
#define STORE_SLOTMAP_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The hash of the key that `slot` has now; called when the table grows or closes a gap. */
typedef uint64_t slotmap_hash_fn(const void *owner, uint32_t slot);

/* Whether the key of `slot` is `key`. */
typedef bool slotmap_match_fn(const void *owner, uint32_t slot, const void *key);

struct slotmap {
    uint32_t *slots;
    unsigned char *tags; /* a little of the hash of each entry; 0 is empty */
    size_t capacity;
    size_t count;
    slotmap_hash_fn *hash;
    slotmap_match_fn *match;
    const void *owner;
};

void slotmap_init(struct slotmap *map, const void *owner, slotmap_hash_fn *hash,
                  slotmap_match_fn *match);
void slotmap_release(struct slotmap *map);

/* Make room for `count` entries at once, and some more. errors: NO_MEMORY, with nothing changed */
STORE_CHECKED enum store_err slotmap_reserve(struct slotmap *map, size_t count);

/* The slot with `key`, whose hash is `hash`; 0 if there is none. */
uint32_t slotmap_find(const struct slotmap *map, uint64_t hash, const void *key);

/* Add `slot`, which isn't in it, and whose key has the hash `hash`. errors: NO_MEMORY, with nothing
 * changed */
STORE_CHECKED enum store_err slotmap_add(struct slotmap *map, uint64_t hash, uint32_t slot);

/* Remove `slot`, whose key must still be the one it was added with. Absent: nothing happens. */
void slotmap_remove(struct slotmap *map, uint32_t slot);

#endif
