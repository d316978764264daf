/*
 * A line tells the number of the last line that its writer had seen, and lines are numbered by
 * their order. So each says what number the first of a run of lines has at least; and one whose
 * writer had seen all before it, which is nearly every one, says it exactly, and its hash is the
 * state of the chain there.
 */
#include "audit_tail.h"
#include "audit_line.h"
#include "fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW (512 * 1024) /* bytes to begin with, */
#define WINDOW_GROWTH 8     /* times as many next, */
#define LINES_ENOUGH 1024   /* unless there are so many lines in them: one has seen all before it */
/* No record gets there; a line that says so must not push the numbers to where they end. */
#define SEQUENCE_MAX UINT64_C(100000000000000000)

void audit_run_add(struct audit_run *run, const char *line, size_t len)
{
    struct audit_link link;

    if (len == 0)
        return;
    if (audit_line_parse(line, len, &link) && link.sequence <= SEQUENCE_MAX) {
        int64_t first = (int64_t)link.sequence - (int64_t)run->count;
        run->first = !run->any || first > run->first ? first : run->first;
        run->any = true;
    }
    run->count++;
}

uint64_t audit_first_number(const char *text, size_t len)
{
    uint64_t sequence;
    return audit_line_sequence(text, len, &sequence) && sequence <= SEQUENCE_MAX ? sequence : 0;
}

/* The lines in a piece of the file. */
struct window {
    char *text;
    size_t len;
    size_t lines; /* where the first line begins */
};

/* The bytes from `begin` to `size`. What others append meanwhile is left for later. */
static enum store_err read_window(int fd, uint64_t begin, uint64_t size, struct window *ret)
{
    size_t len = (size_t)(size - begin);
    char *text = malloc(len ? len : 1);
    size_t used = 0;
    ssize_t n = 1;

    if (text == NULL)
        return fault(STORE_ERR_NO_MEMORY, "read", "the record", NULL);
    while (used < len && n > 0) {
        n = pread(fd, text + used, len - used, (off_t)(begin + used));
        if (n > 0)
            used += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    if (n < 0) {
        enum store_err err = fault_errno(errno, "read", "the record");
        free(text);
        return err;
    }
    char *newline = begin > 0 ? memchr(text, '\n', used) : NULL;
    *ret = (struct window){text, used, 0};
    if (begin > 0)
        ret->lines = newline ? (size_t)(newline + 1 - text) : used;
    return STORE_OK;
}

static struct audit_run count_lines(const struct window *w)
{
    struct audit_run run = {0};
    size_t line_len;
    size_t taken;

    for (size_t at = w->lines; audit_line_end(w->text + at, w->len - at, &line_len, &taken);
         at += taken)
        audit_run_add(&run, w->text + at, line_len);
    return run;
}

/* Go over the lines again: where one is in step, the state is known. Returns where the last ends.
 */
static size_t follow(const struct window *w, const struct audit_run *run,
                     struct audit_head *ret_head)
{
    struct audit_link link;
    size_t at = w->lines;
    size_t line_len;
    size_t taken;

    *ret_head = (struct audit_head){.number = (uint64_t)run->first - 1};
    for (; audit_line_end(w->text + at, w->len - at, &line_len, &taken); at += taken) {
        audit_head_fold(ret_head, w->text + at, line_len);
        if (line_len > 0 && audit_line_parse(w->text + at, line_len, &link) &&
            link.sequence == ret_head->number)
            memcpy(ret_head->hash, link.chain, sizeof ret_head->hash);
    }
    return at;
}

enum store_err audit_tail_find(int fd, bool *ret_found, struct audit_head *ret_head,
                               uint64_t *ret_end)
{
    struct stat st;
    uint64_t room = WINDOW;

    *ret_found = false;
    if (fstat(fd, &st) != 0)
        return fault_errno(errno, "read", "the record");
    for (uint64_t size = (uint64_t)st.st_size;; room *= WINDOW_GROWTH) {
        uint64_t begin = size > room ? size - room : 0;
        struct window w;
        enum store_err err = read_window(fd, begin, size, &w);
        if (err)
            return err;
        struct audit_run run = count_lines(&w);
        if (run.any && run.first > 0 && (run.count >= LINES_ENOUGH || begin == 0)) {
            *ret_found = true;
            *ret_end = begin + follow(&w, &run, ret_head);
        }
        free(w.text);
        if (*ret_found || begin == 0)
            return STORE_OK;
    }
}
