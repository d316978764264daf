/*
 * A table in which each inode has one place. See attributes.h.
 */
#include "attributes.h"

#include <time.h>

#define MARGIN_S 10 /* between the kernel's clock and ours */

static uint32_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec + 1; /* never 0 */
}

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

    return slot->ino == ino && given_s != 0 && now_s() - given_s < ATTRIBUTES_VALID_S - MARGIN_S;
}
