/*
 * Ordinary mounts, made and taken away by fusermount3(1), which is root's and set-user-id: for
 * users who may not mount, and where there is no fsopen(2). Private to mount.c.
 *
 * Such a mount is at its place, for all to see, before anything serves it: requests wait. Its root
 * is the superblock's, and there is no other mount of that.
 */
#ifndef FS_MOUNT_FUSER_H
#define FS_MOUNT_FUSER_H

#include <stdbool.h>

/*
 * Mount at the absolute `path`, read-only. `for_all`: for other users too, which fusermount3 may
 * refuse. *ret_device_fd is the caller's to close. Returns false after one line on standard error.
 */
bool fuser_mount(const char *path, const char *source, bool for_all, int *ret_device_fd);

/* Take the mount away, also while files are open. Returns false after one line on standard error.
 */
bool fuser_unmount(const char *path);

#endif
