/*
 * See progress.h. What is over at once shows nothing.
 */
#include "progress.h"

#include "clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PATIENCE_MS 500 /* before the first line */
#define EVERY_MS 100
#define COLUMNS 80 /* where the terminal doesn't say */
#define BAR_MAX 30
#define BAR_MIN 5

static const char *verb_of(enum store_work work)
{
    switch (work) {
    case STORE_WORK_LOAD:
        return "loading";
    case STORE_WORK_CHECK:
        return "checking";
    case STORE_WORK_COPY:
        return "copying";
    case STORE_WORK_REKEY:
        return "rekeying";
    }
    return "working";
}

static const char *unit_of(enum store_work work)
{
    return work == STORE_WORK_COPY ? "pages" : "rows";
}

/* "1:05 left", from the rate until now. */
static void format_left(uint64_t done, uint64_t total, int64_t ms, char *ret_text, size_t room)
{
    uint64_t seconds = (uint64_t)((double)ms / 1000 / (double)done * (double)(total - done) + 0.5);

    if (seconds >= 3600)
        snprintf(ret_text, room, "%" PRIu64 ":%02u:%02u left", seconds / 3600,
                 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
    else
        snprintf(ret_text, room, "%u:%02u left", (unsigned)(seconds / 60),
                 (unsigned)(seconds % 60));
}

static void format_bar(uint64_t done, uint64_t total, unsigned width, char *ret_text)
{
    unsigned full = (unsigned)((double)done / (double)total * width);

    *ret_text++ = '[';
    memset(ret_text, '#', full);
    memset(ret_text + full, '.', width - full);
    memcpy(ret_text + width, "] ", 3);
}

size_t progress_line(enum store_work work, uint64_t done, uint64_t total, int64_t ms,
                     unsigned columns, char ret_line[PROGRESS_LINE_MAX])
{
    char bar[BAR_MAX + 4] = "";
    char left[32] = "";
    char counts[128];

    if (done == 0 || total == 0 || ms <= 0)
        return 0;
    format_left(done, total, ms, left, sizeof left);
    snprintf(counts, sizeof counts, "%3u%%, %" PRIu64 " of %" PRIu64 " %s, %.0f/s, ",
             (unsigned)((double)done / (double)total * 100), done, total, unit_of(work),
             (double)done * 1000 / (double)ms);
    size_t used = strlen(verb_of(work)) + 1 + strlen(counts) + strlen(left) + 1;
    if (used + BAR_MIN + 3 <= columns) {
        size_t room = columns - used - 3;
        format_bar(done, total, room < BAR_MAX ? (unsigned)room : BAR_MAX, bar);
    }
    int len = snprintf(ret_line, PROGRESS_LINE_MAX, "%s %s%s%s", verb_of(work), bar, counts, left);
    if ((size_t)len >= columns && columns > 0)
        ret_line[len = (int)columns - 1] = '\0'; /* a line that wraps can't be drawn again */
    return (size_t)len;
}

static unsigned columns_of_terminal(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known && size.ws_col < PROGRESS_LINE_MAX ? size.ws_col : COLUMNS;
}

static void note(void *arg, enum store_work work, uint64_t done, uint64_t total)
{
    struct progress *p = arg;
    char line[PROGRESS_LINE_MAX];
    int64_t now_ms = clock_now_ms();

    if (done == total) {
        if (p->drawn)
            fputs("\r\033[K", stderr);
        *p = (struct progress){0};
        return;
    }
    if (!p->working || p->work != work)
        *p = (struct progress){.working = true, .work = work, .begun_ms = now_ms};
    if (now_ms - p->begun_ms < PATIENCE_MS || now_ms - p->drawn_ms < EVERY_MS ||
        progress_line(work, done, total, now_ms - p->begun_ms, columns_of_terminal(), line) == 0)
        return;
    fprintf(stderr, "\r%s\033[K", line);
    p->drawn = true;
    p->drawn_ms = now_ms;
}

void progress_show(struct progress *progress, struct store *store)
{
    if (isatty(STDERR_FILENO))
        store_set_progress(store, note, progress);
}
