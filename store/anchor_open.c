/*
 * Finding an anchor's file. Its folder may belong to somebody with fewer rights than this process:
 * no link is followed, and only a file of the folder's own owner is written.
 */
#include "anchor.h"
#include "anchor_slots.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define NAME_BYTES (2 * STORE_UUID_BYTES + 1)

/* What root makes in somebody's folder is theirs. */
static bool give_to(int fd, const struct stat *owner)
{
    return geteuid() != 0 || fchown(fd, owner->st_uid, owner->st_gid) == 0;
}

/* Make the folder beside the store, in `parent`. Returns -1 with errno. */
static int make_folder(int parent)
{
    struct stat owner;

    if (fstat(parent, &owner) != 0 || mkdirat(parent, ANCHOR_FOLDER, 0700) != 0)
        return -1;
    int fd = openat(parent, ANCHOR_FOLDER, FOLDER_FLAGS | O_NOFOLLOW);
    if (fd >= 0 && (!give_to(fd, &owner) || fsync(parent) != 0)) {
        int kept = errno;
        close(fd);
        unlinkat(parent, ANCHOR_FOLDER, AT_REMOVEDIR);
        errno = kept;
        return -1;
    }
    return fd;
}

/* In a folder that all can write, somebody else's is not the store's. */
static bool is_of(int fd, int parent)
{
    struct stat above;
    struct stat st;

    return fstat(fd, &st) == 0 && fstat(parent, &above) == 0 &&
           (st.st_uid == above.st_uid || st.st_uid == geteuid() || st.st_uid == 0);
}

static int open_beside(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
    if (folder == NULL)
        return -1;
    int parent = open(folder, FOLDER_FLAGS);
    free(folder);
    if (parent < 0)
        return -1;
    int fd = openat(parent, ANCHOR_FOLDER, FOLDER_FLAGS | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && (fd = make_folder(parent)) < 0 && errno == EEXIST)
        fd = openat(parent, ANCHOR_FOLDER, FOLDER_FLAGS | O_NOFOLLOW); /* others were first */
    int kept = errno;
    if (fd >= 0 && !is_of(fd, parent)) {
        close(fd);
        fd = -1;
        kept = EPERM;
    }
    close(parent);
    errno = kept;
    return fd;
}

static bool is_kept_out(int error)
{
    return error == EACCES || error == EPERM || error == EROFS;
}

/* Make the file, empty. Returns -1 with errno. */
static int make_file(int folder, const char *name)
{
    struct stat owner;
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0 && (fstat(folder, &owner) != 0 || !give_to(fd, &owner) || fsync(folder) != 0)) {
        int kept = errno;
        close(fd);
        unlinkat(folder, name, 0);
        errno = kept;
        return -1;
    }
    return fd;
}

/* Open the file, or make it; one that can't be written is opened for reading. False with errno. */
static bool open_file(int folder, const char *name, struct anchor_file *ret_file)
{
    const int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(folder, name, O_RDWR | flags);
    if (fd < 0 && errno == ENOENT && (fd = make_file(folder, name)) < 0 && errno == EEXIST)
        fd = openat(folder, name, O_RDWR | flags);
    *ret_file = (struct anchor_file){.fd = fd, .writable = fd >= 0};
    if (fd < 0 && is_kept_out(errno)) {
        int kept = errno;
        ret_file->fd = openat(folder, name, O_RDONLY | flags);
        errno = kept;
    }
    return ret_file->fd >= 0;
}

/* Whoever could put a link to another's file there must not have it written. */
static enum store_err check_file(int folder, int fd)
{
    struct stat owner;
    struct stat st;

    if (fstat(folder, &owner) != 0 || fstat(fd, &st) != 0)
        return fault_errno(errno, "open", "the anchor");
    /* It may just be in the making, by another process of ours. */
    bool ours = st.st_uid == geteuid() && st.st_nlink == 1;
    if (!S_ISREG(st.st_mode) || (st.st_uid != owner.st_uid && !ours))
        return fault(STORE_ERR_DENIED, "open", "the anchor",
                     "it is not a regular file of the owner of its folder");
    return STORE_OK;
}

/* Whether to go on without: beside the store, where this process may not have one. */
static bool may_lack(const char *folder, int error)
{
    return folder == NULL && (is_kept_out(error) || error == ENOSPC || error == EDQUOT);
}

enum store_err anchor_open(const char *path, const unsigned char uuid[STORE_UUID_BYTES],
                           const char *folder, struct anchor_file *ret_file)
{
    char name[NAME_BYTES];
    struct anchor_file file;
    int at = folder ? open(folder, FOLDER_FLAGS) : open_beside(path);

    *ret_file = (struct anchor_file){.fd = -1};
    if (at < 0)
        return may_lack(folder, errno) ? STORE_OK : fault_errno(errno, "open", "the anchor");
    for (size_t i = 0; i < STORE_UUID_BYTES; i++)
        snprintf(name + 2 * i, 3, "%02x", uuid[i]);
    enum store_err err = STORE_OK;
    if (open_file(at, name, &file))
        err = check_file(at, file.fd);
    else if (!may_lack(folder, errno))
        err = fault_errno(errno, "open", "the anchor");
    if (!err)
        *ret_file = file;
    else if (file.fd >= 0)
        close(file.fd);
    close(at);
    return err;
}

enum store_err anchor_in_memory(const struct anchor_file *file, struct anchor_file *ret_file)
{
    unsigned char bytes[ANCHOR_FILE_MAX];
    ssize_t n = file->fd >= 0 ? pread(file->fd, bytes, sizeof bytes, 0) : 0;
    int fd = n < 0 ? -1 : memfd_create("secretfs-anchor", MFD_CLOEXEC);

    if (fd < 0 || pwrite(fd, bytes, (size_t)n, 0) != n) {
        enum store_err err = fault_errno(errno, "keep", "the anchor");
        if (fd >= 0)
            close(fd);
        return err;
    }
    *ret_file = (struct anchor_file){.fd = fd, .writable = true};
    return STORE_OK;
}
