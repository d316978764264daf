/*
 * Which processes hold a version: a descriptor that can still read it, or a mapping of it.
 *
 * Knows /proc, not the store. Asks nothing of the file systems that the files are on, so that a
 * dead or slow one holds nobody up.
 */
#ifndef TOOLS_HOLDERS_H
#define TOOLS_HOLDERS_H

#include "error.h"
#include "identity.h"

#include <stddef.h>

/* One process, and one version. */
struct holder {
    uint64_t version;
    bool open;
    bool mapped;
    struct identity who;
};

struct holders {
    struct holder *items;
    size_t count;
    size_t capacity;
    size_t unseen; /* processes that we may not look at */
};

/* The files that are looked for: those with one of the inode numbers, on one of the devices. */
struct holders_wanted {
    const uint64_t *versions;
    size_t version_count;
    const uint64_t *devices; /* st_dev */
    size_t device_count;
};

#define HOLDERS_INIT  \
    {                 \
        NULL, 0, 0, 0 \
    }

void holders_release(struct holders *holders);

/* Look through all processes. errors: NO_MEMORY; IO where there is no /proc */
STORE_CHECKED enum store_err holders_find(const struct holders_wanted *wanted,
                                          struct holders *ret_holders);

#endif
