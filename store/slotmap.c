/*
 * Linear probing, at most three quarters full; a removal moves later entries back, so there are no
 * tombstones and a table does not age.
 */
#include "slotmap.h"
#include "fault.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64

void slotmap_init(struct slotmap *map, const void *owner, slotmap_hash_fn *hash,
                  slotmap_match_fn *match)
{
    *map = (struct slotmap){.hash = hash, .match = match, .owner = owner};
}

void slotmap_release(struct slotmap *map)
{
    free(map->slots);
    map->slots = NULL;
    map->capacity = map->count = 0;
}

uint32_t slotmap_find(const struct slotmap *map, uint64_t hash, const void *key)
{
    if (map->capacity == 0)
        return 0;
    size_t mask = map->capacity - 1;
    for (size_t i = hash & mask; map->slots[i] != 0; i = (i + 1) & mask)
        if (map->match(map->owner, map->slots[i], key))
            return map->slots[i];
    return 0;
}

static void place(uint32_t *slots, size_t capacity, uint64_t hash, uint32_t slot)
{
    size_t i = hash & (capacity - 1);
    while (slots[i] != 0)
        i = (i + 1) & (capacity - 1);
    slots[i] = slot;
}

static enum store_err grow(struct slotmap *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : FIRST_CAPACITY;
    uint32_t *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return fault(STORE_ERR_NO_MEMORY, "grow", "the index", NULL);
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i] != 0)
            place(slots, capacity, map->hash(map->owner, map->slots[i]), map->slots[i]);
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return STORE_OK;
}

enum store_err slotmap_add(struct slotmap *map, uint32_t slot)
{
    if ((map->count + 1) * 4 > map->capacity * 3) {
        enum store_err err = grow(map);
        if (err)
            return err;
    }
    place(map->slots, map->capacity, map->hash(map->owner, slot), slot);
    map->count++;
    return STORE_OK;
}

void slotmap_remove(struct slotmap *map, uint32_t slot)
{
    if (map->capacity == 0)
        return;
    size_t mask = map->capacity - 1;
    size_t gap = map->hash(map->owner, slot) & mask;

    while (map->slots[gap] != slot) {
        if (map->slots[gap] == 0)
            return;
        gap = (gap + 1) & mask;
    }
    for (size_t i = (gap + 1) & mask; map->slots[i] != 0; i = (i + 1) & mask) {
        size_t home = map->hash(map->owner, map->slots[i]) & mask;
        /* An entry may move into the gap unless its home lies cyclically between gap and itself. */
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            map->slots[gap] = map->slots[i];
            gap = i;
        }
    }
    map->slots[gap] = 0;
    map->count--;
}
