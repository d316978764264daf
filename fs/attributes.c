/*
 * A table in which each inode has one place. See attributes.h.
 */
#include "attributes.h"
#include "clock.h"

#define MARGIN_S 10 /* between the kernel's clock and ours */

static uint32_t now_s(void)
{
    return (uint32_t)(clock_ns(CLOCK_MONOTONIC_COARSE) / CLOCK_SECOND_NS) + 1; /* never 0 */
}

/* ---- Evictions ----------------------------------------------------------- */

static _Atomic uint32_t *word_of(struct attributes *attributes, uint32_t second)
{
    return &attributes->evictions[second % ATTRIBUTES_SECONDS / 32];
}

/* What is beyond the present is of the day before yesterday. */
static void clear_until(struct attributes *attributes, uint32_t second)
{
    uint32_t from = atomic_exchange(&attributes->cleared_s, second);

    if (second - from > ATTRIBUTES_SECONDS)
        from = second - ATTRIBUTES_SECONDS;
    for (uint32_t s = from + 1; s - 1 != second; s++)
        *word_of(attributes, s) &= ~(1U << s % 32);
}

void attributes_evicted(struct attributes *attributes)
{
    uint32_t now = now_s();

    if (now != attributes->cleared_s)
        clear_until(attributes, now);
    *word_of(attributes, now) |= 1U << now % 32;
}

/* Around that second; it may be told of a little later. */
static bool was_eviction(const struct attributes *attributes, uint32_t second)
{
    uint32_t now = now_s();

    for (uint32_t s = second - 1; s != second + 3 && s - 1 != now; s++)
        if (attributes->evictions[s % ATTRIBUTES_SECONDS / 32] >> s % 32 & 1)
            return true;
    return false;
}

/* ---- Attributes ---------------------------------------------------------- */

void attributes_given(struct attributes *attributes, uint64_t ino)
{
    struct attributes_slot *slot = &attributes->slots[ino % ATTRIBUTES_SLOTS];

    slot->given_s = 0; /* a worker that dies in between must leave nothing wrong */
    slot->ino = ino;
    slot->given_s = now_s();
}

void attributes_dropped(struct attributes *attributes, uint64_t ino)
{
    struct attributes_slot *slot = &attributes->slots[ino % ATTRIBUTES_SLOTS];

    if (slot->ino == ino)
        slot->given_s = 0;
}

bool attributes_held(const struct attributes *attributes, uint64_t ino)
{
    const struct attributes_slot *slot = &attributes->slots[ino % ATTRIBUTES_SLOTS];
    uint32_t given_s = slot->given_s;

    return slot->ino == ino && given_s != 0 && now_s() - given_s < ATTRIBUTES_VALID_S - MARGIN_S &&
           !was_eviction(attributes, given_s);
}
