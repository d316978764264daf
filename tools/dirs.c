/*
 * Missing parent directories. Only init needs them: a store and a key at their usual places, on a
 * machine that has neither directory yet.
 *
 * Knows no store and no key.
 */
#include "dirs.h"

#include "auto.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool dirs_sync_parent(const char *file)
{
    const char *slash = strrchr(file, '/');
    size_t len = slash == file ? 1 : slash ? (size_t)(slash - file) : 0;
    AUTO_FREE char *parent = strndup(file, len);
    AUTO_CLOSE int fd = -1;

    if (!parent)
        return false;
    fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some filesystems can't sync a directory, and need not. */
    return fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
}

/* Make the directory that the first `len` bytes of `made->file` name. */
static bool make_one(struct made_dirs *made, size_t len)
{
    AUTO_FREE char *path = strndup(made->file, len);

    if (!path)
        return false;
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST;
    if (made->shortest == 0)
        made->shortest = len;
    return dirs_sync_parent(path);
}

static bool ends_component(const char *file, size_t at)
{
    return file[at] == '/' && at > 0 && file[at - 1] != '/';
}

bool dirs_make_parents(const char *file, struct made_dirs *made)
{
    made->file = strdup(file);
    if (!made->file)
        return false;
    for (size_t at = 1; file[0] && file[at]; at++) {
        if (ends_component(file, at) && !make_one(made, at))
            return false;
    }
    return true;
}

void dirs_undo(const struct made_dirs *made)
{
    if (!made->file || made->shortest == 0)
        return;
    for (size_t at = strlen(made->file); at >= made->shortest; at--) {
        AUTO_FREE char *path = NULL;
        if (!ends_component(made->file, at) && at != made->shortest)
            continue;
        path = strndup(made->file, at);
        if (path)
            rmdir(path);
    }
}

void dirs_release(struct made_dirs *made)
{
    free(made->file);
    made->file = NULL;
    made->shortest = 0;
}
