/*
 * Questions to /proc/self/mountinfo (proc(5)), which answers without touching any mount.
 */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H

#include <stdbool.h>
#include <stdint.h>

#define MOUNTINFO_SUBTYPE "secretfs" /* the filesystem type is then fuse.secretfs */

#define MOUNTINFO_DEVICE 24

struct mountinfo_entry {
    int id;                        /* given again when the mount is gone */
    char device[MOUNTINFO_DEVICE]; /* of the superblock, as major:minor */
    bool is_secretfs;
};

/* The device as stat(2) has it in st_dev. */
uint64_t mountinfo_device(const struct mountinfo_entry *entry);

/* The mount with this id; false if there is none in our mount namespace. */
bool mountinfo_find_id(int id, struct mountinfo_entry *ret_entry);

/* The topmost mount at exactly this absolute path. */
bool mountinfo_find_path(const char *path, struct mountinfo_entry *ret_entry);

/* The same, if its source (the store, for a secretfs) is this one. */
bool mountinfo_find_path_of(const char *path, const char *source,
                            struct mountinfo_entry *ret_entry);

#endif
