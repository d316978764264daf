/*
 * Where a store is mounted on this machine.
 *
 * Knows the kernel's table of mounts, not the store.
 */
#ifndef TOOLS_MOUNTS_H
#define TOOLS_MOUNTS_H

#include <stddef.h>

struct mounts {
    char **points;
    size_t count;
};

#define MOUNTS_INIT \
    {               \
        NULL, 0     \
    }

void mounts_release(struct mounts *mounts);

/*
 * The mount points of filesystems of type fuse.secretfs whose source is `source`. What can't be
 * read is not listed.
 */
void mounts_find(const char *source, struct mounts *ret_mounts);

#endif
