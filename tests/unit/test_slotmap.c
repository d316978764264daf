/*
 * The hash table against a plain array: random additions, removals and searches, with good hashes
 * and with ones that all collide or wrap around the end of the table.
 */
#include "helpers.h"
#include "slotmap.h"

#include <string.h>

#define SLOTS 3000

/* Keys by slot; the hash is a function of the key alone. */
struct owner {
    uint64_t keys[SLOTS + 1];
    uint64_t (*hash)(uint64_t key);
};

static uint64_t spread(uint64_t key)
{
    return key * 0x9e3779b97f4a7c15u;
}

static uint64_t few(uint64_t key)
{
    return (key % 5) << 61 | key % 3;
}

static uint64_t same(uint64_t key)
{
    (void)key;
    return UINT64_MAX; /* the last place of every table */
}

static uint64_t hash_of(const void *owner, uint32_t slot)
{
    const struct owner *o = owner;
    return o->hash(o->keys[slot]);
}

static bool matches(const void *owner, uint32_t slot, const void *key)
{
    return ((const struct owner *)owner)->keys[slot] == *(const uint64_t *)key;
}

static uint32_t find(const struct slotmap *map, const struct owner *o, uint64_t key)
{
    return slotmap_find(map, o->hash(key), &key);
}

static void compare(const struct slotmap *map, const struct owner *o, const bool *present,
                    uint32_t slots)
{
    size_t count = 0;
    for (uint32_t i = 1; i <= slots; i++) {
        count += present[i];
        if (find(map, o, o->keys[i]) != (present[i] ? i : 0))
            fail_msg("slot %u", i);
    }
    assert_int_equal(map->count, count);
    assert_true(map->count * 4 <= map->capacity * 3);
}

static void against_array(uint64_t (*hash)(uint64_t), uint32_t slots, unsigned steps)
{
    static struct owner owner;
    static bool present[SLOTS + 1];
    struct slotmap map;
    uint64_t random = slots;

    owner.hash = hash;
    memset(present, 0, sizeof present);
    slotmap_init(&map, &owner, hash_of, matches);
    for (uint32_t i = 1; i <= slots; i++)
        owner.keys[i] = (uint64_t)i * 1000003;
    assert_int_equal(find(&map, &owner, owner.keys[1]), 0);
    slotmap_remove(&map, 1);

    for (unsigned step = 0; step < steps; step++) {
        uint32_t slot = 1 + next_random(&random) % slots;
        /* It fills in the first half and empties in the second. */
        bool add = next_random(&random) % 4 < (step < steps / 2 ? 3u : 1u);
        if (add && !present[slot]) {
            owner.keys[slot] = (uint64_t)next_random(&random) << 16 | slot;
            assert_ok(slotmap_add(&map, owner.hash(owner.keys[slot]), slot));
            present[slot] = true;
        } else if (!add) {
            slotmap_remove(&map, slot); /* absent ones, too */
            present[slot] = false;
        }
        if (step % (steps / 50) == 0)
            compare(&map, &owner, present, slots);
    }
    for (uint32_t i = 1; i <= slots; i++)
        slotmap_remove(&map, i);
    assert_int_equal(map.count, 0);
    for (size_t i = 0; i < map.capacity; i++)
        assert_int_equal(map.tags[i], 0);
    slotmap_release(&map);
    assert_null(map.slots);
    assert_int_equal(find(&map, &owner, owner.keys[1]), 0);
}

/* Room that is made at once, in an empty table and in one that is in use. */
static void test_reserve(void **state)
{
    (void)state;
    static struct owner owner = {.hash = spread};
    bool present[SLOTS + 1] = {false};
    struct slotmap map;

    slotmap_init(&map, &owner, hash_of, matches);
    for (uint32_t i = 1; i <= SLOTS; i++) {
        owner.keys[i] = i * 7;
        if (i == 1 || i == 100)
            assert_ok(slotmap_reserve(&map, i * 20));
        size_t capacity = map.capacity;
        assert_ok(slotmap_add(&map, owner.hash(owner.keys[i]), i));
        assert_true(map.capacity == capacity || (i > 20 && i < 100) || i > 2000);
        present[i] = true;
    }
    assert_ok(slotmap_reserve(&map, 5));
    compare(&map, &owner, present, SLOTS);
    slotmap_release(&map);
}

static void test_spread(void **state)
{
    (void)state;
    against_array(spread, SLOTS, 60000);
}

static void test_few_homes(void **state)
{
    (void)state;
    against_array(few, 200, 10000);
}

static void test_one_home_at_the_end(void **state)
{
    (void)state;
    against_array(same, 60, 5000);
    against_array(same, 150, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_spread),
        plain_test(test_few_homes),
        plain_test(test_reserve),
        plain_test(test_one_home_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
