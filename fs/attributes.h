/*
 * Which attributes the kernel has: those that it was given and has not dropped since. While it has
 * them it answers stat(2) itself, and only whom it has just refused does it ask about again
 * (fs/fuse/dir.c, fuse_permission()). So a GETATTR for attributes that it has tells of a refusal.
 *
 * An exception: attributes that come while the kernel evicts any inode it takes for stale
 * (fuse_change_attributes_i()). Of evictions it tells soon after, by FORGETs; so what was given
 * around one does not count as held.
 *
 * Kept in memory that outlives a worker, as the kernel's caches do. Bounded: what is not known any
 * more counts as dropped, and so does whatever may have been.
 */
#ifndef FS_ATTRIBUTES_H
#define FS_ATTRIBUTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ATTRIBUTES_SLOTS 65536
#define ATTRIBUTES_VALID_S 86400      /* what the kernel is told */
#define ATTRIBUTES_SECONDS (1U << 17) /* that are remembered of evictions; more than a day */

struct attributes {
    struct attributes_slot {
        _Atomic uint64_t ino;
        _Atomic uint32_t given_s; /* CLOCK_MONOTONIC; 0: dropped */
    } slots[ATTRIBUTES_SLOTS];
    _Atomic uint32_t cleared_s; /* up to when `evictions` says nothing of earlier days */
    _Atomic uint32_t evictions[ATTRIBUTES_SECONDS / 32]; /* a bit for each second */
};

/* The kernel is about to get the attributes of `ino`. thread: all are safe */
void attributes_given(struct attributes *attributes, uint64_t ino);

/* It drops them, or some of them, or is about to: call it before and after. */
void attributes_dropped(struct attributes *attributes, uint64_t ino);

/* It has forgotten some inode. */
void attributes_evicted(struct attributes *attributes);

/* Whether it has all of them. */
bool attributes_held(const struct attributes *attributes, uint64_t ino);

#endif
