/*
 * What a purge leaves in the write-ahead log, and in the pages that readers keep from being
 * overwritten, until the log can be emptied. A file beside the store, its path with "-purge" behind
 * it, stands from before the purge is committed until that is done, so that whoever writes next
 * finishes what was put off, or was killed. It is empty, and says nothing that the key protects;
 * without it a purge is finished no later than by the next one.
 */
#include "fault.h"
#include "state.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static bool mark_path(const struct store *store, char ret_path[static PATH_MAX])
{
    return snprintf(ret_path, PATH_MAX, "%s-purge", db_path(store->db)) < PATH_MAX;
}

void compact_mark(const struct store *store)
{
    char path[PATH_MAX];
    int fd = mark_path(store, path)
                 ? open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600)
                 : -1;
    if (fd >= 0)
        close(fd);
}

bool store_compact_due(const struct store *store)
{
    char path[PATH_MAX];
    return mark_path(store, path) && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum store_err store_compact(struct store *store, int wait_ms)
{
    char path[PATH_MAX];

    db_limit_waiting(store->db, wait_ms);
    enum store_err err = db_compact(store->db);
    db_limit_waiting(store->db, -1);
    if (!err && mark_path(store, path))
        unlink(path);
    return err;
}
