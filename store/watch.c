/*
 * Noticing that somebody has committed, without polling: inotify on the folder of the store.
 *
 * SQLite writes a commit's pages to the write-ahead log before it makes them visible in shared
 * memory, which raises no event. So the write is too early a sign, and not looked at (a record of
 * reads may be in the same folder, and is written to with each); what counts is the writer's
 * db_touch() after the commit, or the close of its descriptor, which the kernel does even for a
 * writer that was killed.
 */
#include "fault.h"
#include "state.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum store_err store_watch(struct store *store, int *ret_fd)
{
    char folder[PATH_MAX];
    const char *path = db_path(store->db);
    size_t len = (size_t)(strrchr(path, '/') - path);

    if (store->watch_fd >= 0) {
        *ret_fd = store->watch_fd;
        return STORE_OK;
    }
    /* The folder, not the file: a write-ahead log that is made anew is seen too. */
    memcpy(folder, path, len);
    memcpy(folder + len, "/", 2);
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0 || inotify_add_watch(fd, folder,
                                    IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE |
                                        IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR) < 0) {
        enum store_err err = fault_errno(errno, "watch", "the store");
        if (fd >= 0)
            close(fd);
        return err;
    }
    store->watch_fd = fd;
    *ret_fd = fd;
    return STORE_OK;
}

bool store_watch_drain(struct store *store)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    const char *path = db_path(store->db);
    const char *name = strrchr(path, '/') + 1;
    size_t name_len = strlen(name);
    bool due = false;
    ssize_t n;

    while ((n = read(store->watch_fd, events, sizeof events)) > 0) {
        for (const char *at = events; at < events + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)at;
            bool ours = e->len > 0 && strncmp(e->name, name, name_len) == 0 &&
                        (e->name[name_len] == '\0' || strcmp(e->name + name_len, "-wal") == 0);
            due |= ours || (e->mask & IN_Q_OVERFLOW);
            at += sizeof *e + e->len;
        }
    }
    return due;
}
