/*
 * Listing what a path shows, from directory entries alone: readdir(3) gives the inode numbers.
 *
 * Opens folders, and files only as O_PATH, which is no reading: nothing here gets on a record of
 * reads.
 */
#include "snapshot.h"

#include "auto.h"
#include "grow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

void snapshot_release(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++)
        free(snapshot->entries[i].path);
    free(snapshot->entries);
    *snapshot = (struct snapshot)SNAPSHOT_INIT;
}

static bool absent(int error)
{
    return error == ENOENT || error == ENOTDIR;
}

static int add(struct snapshot *snapshot, const char *path, ino_t ino)
{
    char *copy = strdup(path);
    struct snapshot_entry *entries =
        copy ? grow(snapshot->entries, snapshot->count, &snapshot->capacity, sizeof(*entries))
             : NULL;

    if (!entries) {
        free(copy);
        return ENOMEM;
    }
    snapshot->entries = entries;
    struct snapshot_entry *entry = &snapshot->entries[snapshot->count++];
    entry->path = copy;
    entry->ino = ino;
    return 0;
}

/* ---- Folders --------------------------------------------------------------------------------- */

struct walk {
    struct snapshot *snapshot;
    snapshot_visit_fn *visit;
    void *arg;
};

static int walk(const struct walk *at, const char *folder);

/* Not every filesystem tells the type of an entry in its listing. */
static bool is_folder(DIR *stream, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

static int take_entry(const struct walk *at, const char *folder, DIR *stream,
                      const struct dirent *entry)
{
    AUTO_FREE char *path = NULL;
    int error;

    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return 0;
    if (asprintf(&path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, entry->d_name) < 0) {
        path = NULL;
        return ENOMEM;
    }
    if (!is_folder(stream, entry))
        return add(at->snapshot, path, entry->d_ino);
    error = walk(at, path);
    return error == EACCES || absent(error) ? 0 : error;
}

static int walk(const struct walk *at, const char *folder)
{
    const struct dirent *entry;
    DIR *stream;
    int error = 0;

    at->visit(at->arg, folder);
    stream = opendir(folder);
    if (!stream)
        return errno;
    do {
        errno = 0;
        entry = readdir(stream);
        error = entry ? take_entry(at, folder, stream, entry) : errno;
    } while (entry && !error);
    closedir(stream);
    return error;
}

/* ---- The path -------------------------------------------------------------------------------- */

static int served_at(int fd, bool *ret_served)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) != 0)
        return errno;
    *ret_served = fs.f_type == FUSE_SUPER_MAGIC;
    return 0;
}

/* The filesystem that `where` would be on if it were there. */
static int served_above(const char *where, bool *ret_served)
{
    AUTO_FREE char *path = strdup(where);
    AUTO_CLOSE int fd = -1;

    if (!path)
        return ENOMEM;
    while (fd < 0) {
        char *cut = strrchr(path, '/');
        if (!cut)
            return ENOENT;
        *cut = '\0';
        fd = open(path[0] ? path : "/", O_PATH | O_CLOEXEC);
        if (fd < 0 && !absent(errno))
            return errno;
    }
    return served_at(fd, ret_served);
}

static int by_path(const void *a, const void *b)
{
    const struct snapshot_entry *left = a;
    const struct snapshot_entry *right = b;

    return strcmp(left->path, right->path);
}

static int take(const char *path, const char *where, snapshot_visit_fn *visit, void *arg,
                struct snapshot *snapshot)
{
    AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    int error;

    if (fd < 0)
        return absent(errno) ? served_above(where, &snapshot->served) : errno;
    if (fstat(fd, &st) != 0)
        return errno;
    error = served_at(fd, &snapshot->served);
    if (error)
        return error;
    if (!S_ISDIR(st.st_mode))
        return add(snapshot, path, st.st_ino);
    error = walk(&(struct walk){snapshot, visit, arg}, path);
    if (absent(error))
        error = 0;
    if (snapshot->count > 0)
        qsort(snapshot->entries, snapshot->count, sizeof(*snapshot->entries), by_path);
    return error;
}

int snapshot_take(const char *path, const char *where, snapshot_visit_fn *visit, void *arg,
                  struct snapshot *ret_snapshot)
{
    int error = take(path, where, visit, arg, ret_snapshot);

    if (error)
        snapshot_release(ret_snapshot);
    return error;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

bool snapshot_differ(const struct snapshot *before, const struct snapshot *after, FILE *out)
{
    bool differ = false;
    size_t i = 0;
    size_t j = 0;

    while (i < before->count || j < after->count) {
        const struct snapshot_entry *old = i < before->count ? &before->entries[i] : NULL;
        const struct snapshot_entry *new = j < after->count ? &after->entries[j] : NULL;
        int order = !old ? 1 : !new ? -1 : strcmp(old->path, new->path);
        i += order <= 0;
        j += order >= 0;
        if (order == 0 && old->ino == new->ino)
            continue;
        differ = true;
        const struct snapshot_entry *changed = order <= 0 ? old : new;
        if (out && changed)
            fprintf(out, "%s\n", changed->path);
    }
    return differ;
}
