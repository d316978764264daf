/*
 * Watches on folders, renewed before every look: inotify_add_watch(2) on a folder that is watched
 * already changes nothing. So there is no list of watches to keep right while folders come and go.
 *
 * For each path are watched: the folders above it up to the root of its filesystem, where links
 * lead through it those above the links too, and all folders at and below it. A mount that comes or
 * goes is an event of /proc/self/mountinfo (proc(5)), which the kernel counts for each open file.
 */
#include "watcher.h"

#include "auto.h"
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/* Names that come and go, and the folder itself; not chmod(1), and nothing that looking does. */
#define EVENTS                                                                             \
    (IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
     IN_ONLYDIR)

#define EVENT_BUFFER 16384

/* One path that is watched. */
struct target {
    char *path;
    char *real;              /* where it led when there was something last; NULL: nowhere yet */
    bool served;             /* has once been on a mounted tree */
    struct snapshot known;   /* accepted */
    struct snapshot present; /* of the last look, if `looked` */
    bool looked;
};

struct watcher {
    int inotify;
    int mountinfo;
    bool stale; /* a watched folder is somewhere else now */
    int error;  /* of the look under way */
    int *above; /* the watches on folders that paths only lead through */
    size_t above_count;
    struct target *targets;
    size_t count;
};

/* ---- Beginning and end ----------------------------------------------------------------------- */

void watcher_close(struct watcher *watcher)
{
    if (!watcher)
        return;
    auto_close(&watcher->inotify);
    auto_close(&watcher->mountinfo);
    for (size_t i = 0; i < watcher->count; i++) {
        free(watcher->targets[i].path);
        free(watcher->targets[i].real);
        snapshot_release(&watcher->targets[i].known);
        snapshot_release(&watcher->targets[i].present);
    }
    free(watcher->targets);
    free(watcher->above);
    free(watcher);
}

static int fill(struct watcher *watcher, const char *const *paths, size_t count)
{
    watcher->targets = calloc(count, sizeof(*watcher->targets));
    if (!watcher->targets)
        return ENOMEM;
    for (; watcher->count < count; watcher->count++) {
        watcher->targets[watcher->count].path = strdup(paths[watcher->count]);
        if (!watcher->targets[watcher->count].path)
            return ENOMEM;
    }
    watcher->mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (watcher->mountinfo < 0)
        return errno;
    watcher->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return watcher->inotify < 0 ? errno : 0;
}

int watcher_open(const char *const *paths, size_t count, struct watcher **ret_watcher)
{
    struct watcher *watcher = calloc(1, sizeof(*watcher));
    int error;

    if (!watcher)
        return ENOMEM;
    watcher->inotify = -1;
    watcher->mountinfo = -1;
    error = fill(watcher, paths, count);
    if (error)
        watcher_close(watcher);
    else
        *ret_watcher = watcher;
    return error;
}

/* ---- Events ---------------------------------------------------------------------------------- */

void watcher_poll_fds(const struct watcher *watcher, struct pollfd ret_fds[static WATCHER_FDS])
{
    ret_fds[0] = (struct pollfd){.fd = watcher->inotify, .events = POLLIN};
    ret_fds[1] = (struct pollfd){.fd = watcher->mountinfo, .events = POLLPRI};
}

static bool has_component(const char *path, const char *name)
{
    size_t len = strlen(name);

    for (; *path; path += strcspn(path, "/")) {
        path += strspn(path, "/");
        if (strcspn(path, "/") == len && memcmp(path, name, len) == 0)
            return true;
    }
    return false;
}

static int *find_above(const struct watcher *watcher, int watch)
{
    for (size_t i = 0; i < watcher->above_count; i++) {
        if (watcher->above[i] == watch)
            return &watcher->above[i];
    }
    return NULL;
}

static bool matters(const struct watcher *watcher, const struct inotify_event *event)
{
    if (event->len == 0 || !find_above(watcher, event->wd))
        return true;
    for (size_t i = 0; i < watcher->count; i++) {
        const struct target *target = &watcher->targets[i];
        if (has_component(target->path, event->name) ||
            (target->real && has_component(target->real, event->name)))
            return true;
    }
    return false;
}

enum watcher_events watcher_take_events(struct watcher *watcher,
                                        const struct pollfd fds[static WATCHER_FDS])
{
    _Alignas(struct inotify_event) char buffer[EVENT_BUFFER];
    ssize_t len = fds[0].revents ? read(watcher->inotify, buffer, sizeof buffer) : 0;
    enum watcher_events found = fds[1].revents ? WATCHER_MOUNTS : WATCHER_NOTHING;

    for (ssize_t at = 0; at < len;) {
        const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
        if (event->mask & IN_MOVE_SELF)
            watcher->stale = true;
        if (matters(watcher, event))
            found = WATCHER_NAMES;
        at += (ssize_t)(sizeof *event + event->len);
    }
    return found;
}

/* Without the watches on what was moved away. As it is where there can't be another. */
static void begin_anew(struct watcher *watcher)
{
    int fresh = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fresh < 0)
        return;
    close(watcher->inotify);
    watcher->inotify = fresh;
    watcher->stale = false;
}

/* ---- Watches --------------------------------------------------------------------------------- */

/* Returns the watch, or -1: on a folder that has just gone or may not be read there is none. */
static int watch_folder(struct watcher *watcher, const char *folder)
{
    int watch = inotify_add_watch(watcher->inotify, folder, EVENTS);

    if (watch < 0 && (errno == ENOSPC || errno == ENOMEM))
        watcher->error = errno;
    return watch;
}

static void watch_through(struct watcher *watcher, const char *folder)
{
    int watch = watch_folder(watcher, folder);
    int *grown;

    if (watch < 0 || find_above(watcher, watch))
        return;
    grown = reallocarray(watcher->above, watcher->above_count + 1, sizeof(*grown));
    if (!grown)
        return; /* all of its names matter, then */
    watcher->above = grown;
    watcher->above[watcher->above_count++] = watch;
}

/* All names in this one matter, also if a path leads through it. */
static void watch_inside(void *arg, const char *folder)
{
    struct watcher *watcher = arg;
    int *above = find_above(watcher, watch_folder(watcher, folder));

    if (above)
        *above = watcher->above[--watcher->above_count];
}

/*
 * The folders above `path`, from the deepest that exists up.
 * in: to_root  all of them, and not only those of one filesystem
 */
static void watch_above(struct watcher *watcher, const char *path, bool to_root)
{
    AUTO_FREE char *folder = strdup(path);
    struct stat st;
    bool found = stat(path, &st) == 0;
    dev_t dev = found ? st.st_dev : 0;
    char *cut;

    if (!folder) {
        watcher->error = ENOMEM;
        return;
    }
    while ((cut = strrchr(folder, '/'))) {
        const char *name = cut == folder ? "/" : folder;
        *cut = '\0';
        if (stat(name, &st) != 0)
            continue;
        if (found && st.st_dev != dev && !to_root)
            return;
        watch_through(watcher, name);
        found = true;
        dev = st.st_dev;
    }
}

static void watch_target(struct watcher *watcher, struct target *target)
{
    char *real = realpath(target->path, NULL);

    if (real) {
        free(target->real);
        target->real = real;
    }
    watch_above(watcher, target->path, target->real && strcmp(target->real, target->path) != 0);
    if (target->real)
        watch_above(watcher, target->real, false);
}

/* ---- Looking --------------------------------------------------------------------------------- */

/* Returns 0 or an errno; also for a mount that went away and leaves what was below it. */
static void look_at(struct watcher *watcher, struct target *target)
{
    struct snapshot present = SNAPSHOT_INIT;
    int error;

    snapshot_release(&target->present);
    target->looked = false;
    error = snapshot_take(target->path, target->real ? target->real : target->path, watch_inside,
                          watcher, &present);
    if (error)
        watcher->error = error;
    if (error || (target->served && !present.served)) {
        snapshot_release(&present);
        return;
    }
    target->present = present;
    target->served = present.served;
    target->looked = true;
}

bool watcher_look(struct watcher *watcher, int *ret_error, const char **ret_path)
{
    bool changed = false;

    *ret_error = 0;
    *ret_path = NULL;
    if (watcher->stale)
        begin_anew(watcher);
    watcher->above_count = 0;
    watcher->error = 0;
    for (size_t i = 0; i < watcher->count; i++)
        watch_target(watcher, &watcher->targets[i]);
    for (size_t i = 0; i < watcher->count; i++) {
        struct target *target = &watcher->targets[i];
        look_at(watcher, target);
        if (watcher->error) {
            *ret_error = watcher->error;
            *ret_path = target->path;
        }
        watcher->error = 0;
        if (target->looked && snapshot_differ(&target->known, &target->present, NULL))
            changed = true;
    }
    return changed;
}

char *watcher_accept(struct watcher *watcher)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    for (size_t i = 0; i < watcher->count; i++) {
        struct target *target = &watcher->targets[i];
        if (!target->looked)
            continue;
        snapshot_differ(&target->known, &target->present, out);
        snapshot_release(&target->known);
        target->known = target->present;
        target->present = (struct snapshot)SNAPSHOT_INIT;
        target->looked = false;
    }
    if (!out || fclose(out) != 0) {
        free(text);
        return NULL;
    }
    if (len > 0)
        text[len - 1] = '\0';
    return text;
}
