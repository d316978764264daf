/*
 * Linear probing, at most three quarters full; a removal moves later entries back, so there are no
 * tombstones and a table does not age.
 *
 * Of a large index each look at an entry's key waits for memory. So a search passes over the tags,
 * one byte each, and looks at a key only where the tag says that it may be the right one.
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
    free(map->tags);
    map->slots = NULL;
    map->tags = NULL;
    map->capacity = map->count = 0;
}

/* Where an entry would be best: the upper half of its hash, scaled down. */
static size_t home_of(const struct slotmap *map, uint64_t hash)
{
    return (size_t)((hash >> 32) * map->capacity >> 32);
}

/* From the lower half, so that neighbours differ; never 0. */
static unsigned char tag_of(uint64_t hash)
{
    return (unsigned char)(hash | 1);
}

static size_t next_place(const struct slotmap *map, size_t place)
{
    return place + 1 == map->capacity ? 0 : place + 1;
}

/* How far it is from `from` to `to`, going upwards and around. */
static size_t distance(const struct slotmap *map, size_t from, size_t to)
{
    return to >= from ? to - from : to + map->capacity - from;
}

uint32_t slotmap_find(const struct slotmap *map, uint64_t hash, const void *key)
{
    unsigned char tag = tag_of(hash);

    if (map->capacity == 0)
        return 0;
    for (size_t i = home_of(map, hash); map->tags[i] != 0; i = next_place(map, i))
        if (map->tags[i] == tag && map->match(map->owner, map->slots[i], key))
            return map->slots[i];
    return 0;
}

static void place(struct slotmap *map, uint64_t hash, uint32_t slot)
{
    size_t i = home_of(map, hash);
    while (map->tags[i] != 0)
        i = next_place(map, i);
    map->slots[i] = slot;
    map->tags[i] = tag_of(hash);
}

static enum store_err resize(struct slotmap *map, size_t capacity)
{
    struct slotmap larger = *map;

    larger.capacity = capacity;
    larger.slots = reallocarray(NULL, capacity, sizeof *larger.slots);
    larger.tags = calloc(capacity, 1);
    if (larger.slots == NULL || larger.tags == NULL) {
        free(larger.slots);
        free(larger.tags);
        return fault(STORE_ERR_NO_MEMORY, "grow", "the index", NULL);
    }
    for (size_t i = 0; i < map->capacity; i++)
        if (map->tags[i] != 0)
            place(&larger, map->hash(map->owner, map->slots[i]), map->slots[i]);
    free(map->slots);
    free(map->tags);
    *map = larger;
    return STORE_OK;
}

enum store_err slotmap_reserve(struct slotmap *map, size_t count)
{
    size_t capacity = count + count / 2;
    return capacity > map->capacity ? resize(map, capacity) : STORE_OK;
}

enum store_err slotmap_add(struct slotmap *map, uint64_t hash, uint32_t slot)
{
    if ((map->count + 1) * 4 > map->capacity * 3) {
        enum store_err err = resize(map, map->capacity ? map->capacity * 2 : FIRST_CAPACITY);
        if (err)
            return err;
    }
    place(map, hash, slot);
    map->count++;
    return STORE_OK;
}

void slotmap_remove(struct slotmap *map, uint32_t slot)
{
    if (map->capacity == 0)
        return;
    size_t gap = home_of(map, map->hash(map->owner, slot));

    while (map->tags[gap] != 0 && map->slots[gap] != slot)
        gap = next_place(map, gap);
    if (map->tags[gap] == 0)
        return;
    for (size_t i = next_place(map, gap); map->tags[i] != 0; i = next_place(map, i)) {
        size_t home = home_of(map, map->hash(map->owner, map->slots[i]));
        /* An entry may move into the gap unless its home lies cyclically between gap and itself. */
        if (distance(map, home, i) >= distance(map, gap, i)) {
            map->slots[gap] = map->slots[i];
            map->tags[gap] = map->tags[i];
            gap = i;
        }
    }
    map->tags[gap] = 0;
    map->count--;
}
