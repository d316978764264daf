/*
 * The lines stand in the order in which they were written, so the first of a time is found by
 * halving. Writers at the same moment may be a little out of order, and a clock may be set; so the
 * search is for a moment earlier.
 */
#include "audit_scan.h"

#include "when.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define MARGIN_NS (5 * SECOND_NS)
#define BUFFER_BYTES ((size_t)4 * AUDIT_LINE_MAX)
#define LOOK_AGAIN_MS 1000 /* at the latest, whatever inotify says */
#define TIME_AT 9          /* behind {"time":" */
#define TIME_LEN 27

bool audit_scan_time(const char *line, size_t len, int64_t *ret_ns)
{
    char text[TIME_LEN + 1];

    if (len < TIME_AT + TIME_LEN + 1 || memcmp(line, "{\"time\":\"", TIME_AT) != 0 ||
        line[len - 1] != '}' || line[TIME_AT + TIME_LEN] != '"')
        return false;
    memcpy(text, line + TIME_AT, TIME_LEN);
    text[TIME_LEN] = '\0';
    return when_parse(text, 0, ret_ns) && *ret_ns != 0;
}

/* ---- One file ------------------------------------------------------------ */

struct source {
    struct audit_scan *scan;
    char *buffer; /* BUFFER_BYTES */
    int fd;
    uint64_t at; /* what is before it has been told */
    bool ended;  /* the visitor wants no more */
};

static ssize_t read_at(const struct source *s, uint64_t at)
{
    ssize_t n;

    do
        n = pread(s->fd, s->buffer, BUFFER_BYTES, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        s->scan->bytes += (uint64_t)n;
    return n;
}

/* Tell the lines that are whole; a piece that fills the buffer counts as one. errors: errno */
static int tell_lines(struct source *s)
{
    for (;;) {
        ssize_t n = read_at(s, s->at);
        size_t done = 0;
        if (n < 0)
            return errno;
        while (!s->ended) {
            const char *line = s->buffer + done;
            const char *newline = memchr(line, '\n', (size_t)n - done);
            if (newline == NULL)
                break;
            s->ended = !s->scan->visit(s->scan->arg, line, (size_t)(newline - line));
            done = (size_t)(newline + 1 - s->buffer);
        }
        if (done == 0 && (size_t)n == BUFFER_BYTES)
            done = BUFFER_BYTES;
        s->at += done;
        if (s->ended || done == 0)
            return 0;
    }
}

/* The first line that begins in the buffer's `len` bytes and has a time. With `whole`, one begins
 * at its first byte. */
static bool first_time(const struct source *s, size_t len, bool whole, int64_t *ret_ns)
{
    const char *end = s->buffer + len;
    const char *line = s->buffer;

    if (!whole) {
        line = memchr(line, '\n', len);
        line = line ? line + 1 : end;
    }
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL)
            return false;
        if (audit_scan_time(line, (size_t)(newline - line), ret_ns))
            return true;
        line = newline + 1;
    }
    return false;
}

/* Where to begin for lines from `since_ns` on: at a line's beginning. */
static int seek_time(struct source *s, int64_t since_ns)
{
    struct stat st;
    uint64_t low = 0; /* what is before it is earlier */

    s->at = 0;
    if (fstat(s->fd, &st) != 0)
        return errno;
    for (uint64_t high = (uint64_t)st.st_size; high - low > BUFFER_BYTES;) {
        uint64_t middle = low + (high - low) / 2;
        int64_t time_ns = 0;
        ssize_t n = read_at(s, middle);
        if (n < 0)
            return errno;
        if (first_time(s, (size_t)n, false, &time_ns) && time_ns < since_ns)
            low = middle;
        else
            high = middle;
    }
    if (low == 0)
        return 0;
    ssize_t n = read_at(s, low);
    if (n < 0)
        return errno;
    const char *newline = memchr(s->buffer, '\n', (size_t)n);
    s->at = low + (newline ? (uint64_t)(newline + 1 - s->buffer) : 0);
    return 0;
}

/* ---- Several ------------------------------------------------------------- */

static int open_source(const char *name)
{
    return open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* The file that has the first line from `since_ns` on: the last one that begins before it. */
static int find_first(struct source *s, const struct audit_files *files, int64_t since_ns,
                      size_t *ret_first)
{
    size_t i = files->count;

    *ret_first = 0;
    while (since_ns > 0 && i-- > 0) {
        int64_t time_ns;
        s->fd = open_source(files->names[i]);
        if (s->fd < 0)
            continue;
        ssize_t n = read_at(s, 0);
        int failed = n < 0 ? errno : 0;
        close(s->fd);
        if (failed)
            return failed;
        if (first_time(s, (size_t)n, true, &time_ns) && time_ns < since_ns) {
            *ret_first = i;
            return 0;
        }
    }
    return 0;
}

/* ---- Following ----------------------------------------------------------- */

static int watch_folder(const char *file)
{
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file + 1)) : strdup(".");
    int fd = folder ? inotify_init1(IN_CLOEXEC | IN_NONBLOCK) : -1;

    if (fd >= 0 &&
        inotify_add_watch(fd, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE) < 0) {
        close(fd);
        fd = -1;
    }
    free(folder);
    return fd;
}

static void wait_for_more(int watch)
{
    struct pollfd pollfd = {.fd = watch, .events = POLLIN};
    char events[4096];

    poll(&pollfd, 1, LOOK_AGAIN_MS);
    if (watch >= 0)
        while (read(watch, events, sizeof events) > 0)
            continue;
}

/* Whether another file has the name by now; it is opened then. */
static bool is_replaced(const struct source *s, const char *file, int *ret_fd)
{
    struct stat ours = {0};
    struct stat st;
    int fd = open_source(file);

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 &&
        (s->fd < 0 ||
         (fstat(s->fd, &ours) == 0 && (st.st_ino != ours.st_ino || st.st_dev != ours.st_dev)))) {
        *ret_fd = fd;
        return true;
    }
    close(fd);
    return false;
}

static int follow(struct source *s, const char *file)
{
    int watch = watch_folder(file);
    int failed = 0;

    while (!failed && !s->ended) {
        int next;
        bool replaced = is_replaced(s, file, &next);
        failed = s->fd >= 0 ? tell_lines(s) : 0; /* what came to the old one meanwhile */
        if (replaced) {
            if (s->fd >= 0)
                close(s->fd);
            s->fd = next;
            s->at = 0;
            continue;
        }
        if (!s->ended && s->scan->idle)
            s->ended = !s->scan->idle(s->scan->arg, NULL, 0);
        if (!failed && !s->ended)
            wait_for_more(watch);
    }
    if (watch >= 0)
        close(watch);
    return failed;
}

static int scan_files(struct source *s, const struct audit_files *files, bool follows,
                      const char **ret_file)
{
    int64_t since_ns = s->scan->since_ns > MARGIN_NS ? s->scan->since_ns - MARGIN_NS : 0;
    size_t first;
    int failed = find_first(s, files, since_ns, &first);

    for (size_t i = first; i < files->count && !failed && !s->ended; i++) {
        bool last = i + 1 == files->count;
        *ret_file = files->names[i];
        s->fd = open_source(files->names[i]);
        if (s->fd < 0 && !(errno == ENOENT && (files->count > 1 || follows)))
            return errno;
        if (s->fd >= 0)
            failed = i == first && since_ns > 0 ? seek_time(s, since_ns) : (s->at = 0, 0);
        if (!failed && s->fd >= 0)
            failed = tell_lines(s);
        if (!failed && last && follows && !s->ended)
            failed = follow(s, files->names[i]);
        if (s->fd >= 0)
            close(s->fd);
    }
    return failed;
}

int audit_scan(struct audit_scan *scan, const struct audit_files *files, bool follows,
               const char **ret_file)
{
    struct source s = {.scan = scan, .buffer = malloc(BUFFER_BYTES), .fd = -1};

    *ret_file = files->names[files->count - 1];
    if (s.buffer == NULL)
        return ENOMEM;
    int failed = scan_files(&s, files, follows, ret_file);
    free(s.buffer);
    return failed;
}
