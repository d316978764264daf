/*
 * An anchor's file: two slots that are written in turns, so that one is whole whenever the power
 * goes. Knows no store. Private. FORMAT.md, "The anchor".
 */
#ifndef STORE_ANCHOR_SLOTS_H
#define STORE_ANCHOR_SLOTS_H

#include "seal.h"

#define ANCHOR_SLOT_BYTES 100
#define ANCHOR_SLOT_DISTANCE 4096 /* so that no torn block concerns both */
#define ANCHOR_FILE_MAX (ANCHOR_SLOT_DISTANCE + ANCHOR_SLOT_BYTES)

/* A state of a store that was seen. */
struct anchor_slot {
    uint64_t generation;
    uint64_t next_id;
    int64_t seen_ns;
    unsigned char root_hash[SEAL_ROOT_HASH_BYTES];
};

enum anchor_content { ANCHOR_EMPTY, ANCHOR_BROKEN, ANCHOR_READ };

/*
 * Read the later of the two.
 * out: ret_slot    for READ
 *      ret_number  which one it is, 0 or 1; the other is to be written next
 * errors: IO
 */
STORE_CHECKED enum store_err anchor_slots_read(int fd, const struct seal_keys *keys,
                                               enum anchor_content *ret_content,
                                               struct anchor_slot *ret_slot, unsigned *ret_number);

/* Whether one of them says that it is of the store `uuid`, whatever key it is sealed by. */
bool anchor_slots_name(int fd, const unsigned char uuid[STORE_UUID_BYTES]);

/* Write slot `number` and make it durable. errors: IO, NO_SPACE … */
STORE_CHECKED enum store_err anchor_slots_write(int fd, const struct seal_keys *keys,
                                                unsigned number, const struct anchor_slot *slot);

/* Keep other writers out, after waiting `wait_ms` at most. errors: BUSY, IO */
STORE_CHECKED enum store_err anchor_slots_lock(int fd, unsigned wait_ms);
void anchor_slots_unlock(int fd);

#endif
