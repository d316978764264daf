/*
 * The keys that lines were hashed with until a rekey. They are kept in the root record, each sealed
 * under the present key. FORMAT.md, "Root record". Private.
 */
#ifndef STORE_AUDIT_FORMER_H
#define STORE_AUDIT_FORMER_H

#include "record.h"
#include "seal.h"

/* The audit keys of a store, the oldest first and the present one last. */
struct audit_keys {
    struct secbuf bytes;
    uint64_t last[AUDIT_FORMER_MAX + 1]; /* the number of the last line under each */
    size_t count;
};

/* caller: audit_keys_release(). errors: INTEGRITY, NO_MEMORY, MEMORY_LOCK */
STORE_CHECKED enum store_err audit_keys_open(const struct seal_keys *keys,
                                             const struct root_record *root,
                                             struct audit_keys *ret_keys);
void audit_keys_release(struct audit_keys *keys);

/* Have `root`, which is written under `to` next, keep the keys that `from` and it know, up to the
 * line `head`; the oldest goes where there are too many. errors: as audit_keys_open() */
STORE_CHECKED enum store_err audit_keys_keep(const struct seal_keys *from,
                                             const struct audit_head *head,
                                             const struct seal_keys *to, struct root_record *root);

#endif
