/*
 * Watching paths of mounted trees: waiting until something may have changed, and finding out what
 * has.
 *
 * inotify(7) and /proc/self/mountinfo only say when to look. What counts is what a look finds, so
 * that events that were lost, merged or meant something else change nothing. Must not know what is
 * done about a change, nor the store.
 */
#ifndef TOOLS_WATCHER_H
#define TOOLS_WATCHER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define WATCHER_FDS 2

struct watcher;

/*
 * Make a watcher of absolute paths. Nothing is looked at yet.
 * out: ret_watcher  watcher_close()
 * Returns 0 or an errno.
 */
int watcher_open(const char *const *paths, size_t count, struct watcher **ret_watcher);

/* Takes NULL, too. */
void watcher_close(struct watcher *watcher);

/* What to wait for with poll(2). */
void watcher_poll_fds(const struct watcher *watcher, struct pollfd ret_fds[static WATCHER_FDS]);

enum watcher_events {
    WATCHER_NOTHING,
    WATCHER_MOUNTS, /* something was mounted or unmounted, perhaps elsewhere: look in any case */
    WATCHER_NAMES,  /* something happened to the paths: look when no more happens */
};

/*
 * Take the events that are there, without waiting. Returns what reason there is to look.
 * in: fds  as poll(2) left them
 */
enum watcher_events watcher_take_events(struct watcher *watcher,
                                        const struct pollfd fds[static WATCHER_FDS]);

/*
 * Look at every path. Returns whether any shows something else than what was accepted last; at
 * first, that is nothing. A path whose mount has gone away, and one that can't be looked at, count
 * as unchanged until they can be looked at again.
 * out: ret_error  0, or the errno of a path that can't be looked at, which gives no event when it
 *                 can: look again later
 * out: ret_path   that path, or NULL; valid as long as the watcher
 */
bool watcher_look(struct watcher *watcher, int *ret_error, const char **ret_path);

/*
 * Accept what the last look found. Returns the paths of what has changed since the look that was
 * accepted before, a line each, without a newline at the end; the caller frees it. NULL when out
 * of memory, with everything accepted nevertheless.
 */
char *watcher_accept(struct watcher *watcher);

#endif
