/*
 * The privileged set-up: the FUSE device, the superblock, the two mounts of it. Needs root, or to
 * be the root of a user namespace that owns the mount namespace.
 *
 * The superblock is mounted read-write where nobody sees it (`private_fd`, a detached mount), and
 * its tree/ directory a second time, read-only, at the mount point. So users get EROFS from the
 * VFS, and the daemon can still rename. Never call anything here from a thread that serves
 * requests: attaching looks `tree` up, which a serving thread has to answer.
 *
 * Without these rights, and on kernels without these calls, fusermount3(1) makes an `ordinary`
 * mount instead: one only, read-only as a whole, of a superblock whose root is the tree itself.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include "mountinfo.h"

#include <stdbool.h>

/* The directory of the superblock that becomes the public mount. */
#define MOUNT_TREE "tree"
/* The one from which a version is renamed to its name. */
#define MOUNT_STAGE "stage"
#define MOUNT_TAKEN MOUNT_STAGE "/-" /* and the number of a directory that is gone */
/* The one that has superseded versions, so that their watchers can be told. */
#define MOUNT_INODE "inode"

struct mount {
    char *path;     /* the mount point, absolute and without symlinks */
    bool made;      /* the directory was made for it, and nothing was attached there yet */
    int point_fd;   /* the directory below the mount; locked, so that one daemon only uses it */
    int device_fd;  /* /dev/fuse */
    int private_fd; /* the detached mount of the superblock; -1: none, as always if ordinary */
    struct mountinfo_entry attached; /* the public mount; id 0 before there is one */
    unsigned connection;             /* its number, as in /sys/fs/fuse/connections; 0: not known */
    bool ordinary;
    bool for_all; /* an ordinary one is for more than its user */
};

#define MOUNT_INIT                                        \
    {                                                     \
        .point_fd = -1, .device_fd = -1, .private_fd = -1 \
    }

/*
 * Make sure of the mount point: clean a dead secretfs mount off it, make it if only its last
 * component is missing, and refuse what isn't an empty directory or is in use by another secretfs.
 * Returns false after one line on standard error. The caller owns `mount`: mount_release().
 */
bool mount_prepare(struct mount *mount, const char *mountpoint);

/* Whether a secretfs that lives serves `source` there already. */
bool mount_serves(const char *mountpoint, const char *source);

/*
 * Open the device and make the superblock; requests can be served then. `source` is shown as the
 * device. `allow_other`: where a plain user mounts, ask for a mount that others can see, too;
 * root's always can be. An ordinary mount is at its place with that already.
 */
bool mount_create(struct mount *mount, const char *source, bool allow_other);

/*
 * Show the tree at the mount point. Something must be serving requests already. Of an ordinary
 * mount, a line on standard error says what it does not give.
 */
bool mount_attach(struct mount *mount);

/* Whether the public mount is still there. Reads /proc only, never the mount itself. */
bool mount_attached(const struct mount *mount);

/* Take the public mount away, also while files are open. Harmless when it is gone. */
void mount_detach(struct mount *mount);

/* Close the device. When no worker has it open either, every request that waits fails with
 * ENOTCONN. */
void mount_close_device(struct mount *mount);

/*
 * Have every request fail that waits although the device is closed: a thread of a former worker may
 * still have it open, which waits in the kernel itself. Only root can. Returns false after one line
 * on standard error.
 */
bool mount_abort(const struct mount *mount);

/* Let go of the private mount. The superblock ends when nothing else uses it: no bind mount, no
 * file. */
void mount_drop_private(struct mount *mount);

/* Release everything. An ordinary mount that is left goes, too, and so does a mount point that was
 * made for a mount that never came about. */
void mount_release(struct mount *mount);

#endif
