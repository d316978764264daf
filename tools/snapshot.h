/*
 * What a path of a mounted tree shows at one moment: which secrets, each in which version.
 *
 * An inode is a version, so that inode numbers tell all, and no value is ever opened. Must not know
 * inotify.
 */
#ifndef TOOLS_SNAPSHOT_H
#define TOOLS_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* A file: the path that was asked for, or one below it. */
struct snapshot_entry {
    char *path;
    ino_t ino;
};

struct snapshot {
    struct snapshot_entry *entries; /* sorted by path */
    size_t count;
    size_t capacity;
    bool served; /* by a FUSE filesystem, such as secretfs */
};

#define SNAPSHOT_INIT     \
    {                     \
        NULL, 0, 0, false \
    }

/* Told of every folder before it is listed, so that no change after that can be missed. */
typedef void snapshot_visit_fn(void *arg, const char *folder);

/*
 * Look at `path`: one entry for a file, one for every file below a folder, none where there is
 * nothing. Links in `path` are followed, those below it are not. Folders below it that the caller
 * may not list count as empty.
 * in:     where         what tells which filesystem it is, where there is nothing at `path`: the
 *                       deepest folder above `where` that exists
 * out:    ret_snapshot  empty before; snapshot_release(); holds nothing on failure
 * errors: 0 or an errno. Never ENOENT or ENOTDIR
 */
int snapshot_take(const char *path, const char *where, snapshot_visit_fn *visit, void *arg,
                  struct snapshot *ret_snapshot);

void snapshot_release(struct snapshot *snapshot);

/*
 * Whether the two show different files, or different versions of one. in: out  gets the paths of
 * those, each with a newline behind it; NULL for none
 */
bool snapshot_differ(const struct snapshot *before, const struct snapshot *after, FILE *out);

#endif
