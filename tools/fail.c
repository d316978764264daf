/*
 * One place that knows the words, the next steps and the exit statuses of every store error.
 *
 * A line is put together in memory and written at once, escaped as a whole: no argument can add a
 * second line or move the cursor of a terminal. Must not know commands, nor see values.
 */
#include "fail.h"

#include "audit.h"
#include "text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    FILE *stream;
    char *data;
    size_t len;
};

static void line_begin(struct line *line)
{
    line->data = NULL;
    line->len = 0;
    line->stream = open_memstream(&line->data, &line->len);
    if (line->stream)
        fputs("secretctl: ", line->stream);
}

static void line_end(struct line *line)
{
    if (!line->stream || fclose(line->stream) != 0 || !line->data) {
        fputs("secretctl: out of memory\n", stderr);
    } else {
        char *escaped = text_escape(line->data);
        fprintf(stderr, "%s\n", escaped ? escaped : "secretctl: out of memory");
        free(escaped);
    }
    free(line->data);
}

static void line_task(const struct line *line, const struct task *task)
{
    if (line->stream)
        fprintf(line->stream, "cannot %s '%s': ", task->action, task->object);
}

static enum status status_of(enum store_err err)
{
    switch (err) {
    case STORE_OK:
        return STATUS_DONE;
    case STORE_ERR_NOT_FOUND:
    case STORE_ERR_NO_VERSION:
        return STATUS_NO_PATH;
    case STORE_ERR_KEY:
        return STATUS_LOCKED;
    case STORE_ERR_INTEGRITY:
    case STORE_ERR_ANCHOR:
        return STATUS_INTEGRITY;
    case STORE_ERR_EXISTS:
    case STORE_ERR_NOT_DIRECTORY:
    case STORE_ERR_IS_DIRECTORY:
    case STORE_ERR_NOT_EMPTY:
    case STORE_ERR_NAME:
    case STORE_ERR_LIMIT:
    case STORE_ERR_INVALID:
    case STORE_ERR_NO_STORE:
    case STORE_ERR_FORMAT:
    case STORE_ERR_BUSY:
    case STORE_ERR_DENIED:
    case STORE_ERR_NO_SPACE:
    case STORE_ERR_IO:
    case STORE_ERR_NO_MEMORY:
    case STORE_ERR_MEMORY_LOCK:
    case STORE_ERR_REVOKED:
    case STORE_ERR_EXPIRED:
        return STATUS_FAILED;
    }
    return STATUS_FAILED;
}

static const char *next_step(enum store_err err)
{
    switch (err) {
    case STORE_ERR_NOT_FOUND:
        return "see 'secretctl ls'";
    case STORE_ERR_NO_VERSION:
        return "see 'secretctl versions'";
    case STORE_ERR_IS_DIRECTORY:
        return "name a secret in it, see 'secretctl ls'";
    case STORE_ERR_NOT_EMPTY:
        return "remove what is in it first";
    case STORE_ERR_NO_STORE:
        return "make one with 'secretctl init', or name another with --store";
    case STORE_ERR_KEY:
        return "name the right key with --key-file or --passphrase-fd";
    case STORE_ERR_INTEGRITY:
        return "trust nothing in it, and bring back a backup";
    case STORE_ERR_ANCHOR:
        return "if that is on purpose, 'secretctl anchor accept' accepts it";
    case STORE_ERR_BUSY:
        return "try again, or see 'secretctl status'";
    case STORE_ERR_DENIED:
        return "run it as root or as the owner of the store";
    case STORE_ERR_NO_SPACE:
        return "make room and try again";
    case STORE_ERR_MEMORY_LOCK:
        return "raise the limit with 'ulimit -l'";
    case STORE_ERR_REVOKED:
        return "put a new version, or see 'secretctl versions' for another";
    case STORE_ERR_EXPIRED:
        return "put a new version with --expires, or set another time with 'secretctl expire'";
    case STORE_ERR_NAME:
        return "names are UTF-8 of up to 255 bytes without control characters, not '.' or '..', "
               "and "
               "at the root without a leading '@'";
    case STORE_OK:
    case STORE_ERR_EXISTS:
    case STORE_ERR_NOT_DIRECTORY:
    case STORE_ERR_LIMIT:
    case STORE_ERR_INVALID:
    case STORE_ERR_FORMAT:
    case STORE_ERR_IO:
    case STORE_ERR_NO_MEMORY:
        return NULL;
    }
    return NULL;
}

/* What the record of the fault adds to the words for the code. */
enum detail {
    DETAIL_NONE,
    DETAIL_BEHIND,  /* which row, which errno: behind the words */
    DETAIL_INSTEAD, /* the rule that was broken, which says all: instead of them */
};

static enum detail detail_of(enum store_err err)
{
    switch (err) {
    case STORE_ERR_LIMIT:
    case STORE_ERR_INVALID:
        return DETAIL_INSTEAD;
    case STORE_ERR_FORMAT:
    case STORE_ERR_INTEGRITY:
    case STORE_ERR_ANCHOR:
    case STORE_ERR_DENIED:
    case STORE_ERR_NO_SPACE:
    case STORE_ERR_IO:
    case STORE_ERR_MEMORY_LOCK:
        return DETAIL_BEHIND;
    case STORE_OK:
    case STORE_ERR_NOT_FOUND:
    case STORE_ERR_NO_VERSION:
    case STORE_ERR_EXISTS:
    case STORE_ERR_NOT_DIRECTORY:
    case STORE_ERR_IS_DIRECTORY:
    case STORE_ERR_NOT_EMPTY:
    case STORE_ERR_NAME:
    case STORE_ERR_NO_STORE:
    case STORE_ERR_KEY:
    case STORE_ERR_BUSY:
    case STORE_ERR_NO_MEMORY:
    case STORE_ERR_REVOKED:
    case STORE_ERR_EXPIRED:
        return DETAIL_NONE;
    }
    return DETAIL_NONE;
}

/* "node 17: the seal does not open: Input/output error", as far as there is something to tell. */
static void put_detail(FILE *stream, const struct store_fault *fault)
{
    const char *parts[3];
    size_t count = 0;

    if (fault->object[0])
        parts[count++] = fault->object;
    if (fault->reason[0])
        parts[count++] = fault->reason;
    if (fault->sys_errno)
        parts[count++] = strerror(fault->sys_errno);
    for (size_t i = 0; i < count; i++)
        fprintf(stream, "%s%s", i == 0 ? "" : ": ", parts[i]);
}

/* What is not recorded is not done. */
static bool is_about_record(const struct store_fault *fault)
{
    return fault && strcmp(fault->object, AUDIT_OBJECT) == 0;
}

/* in: fault  NULL when there is none that belongs to `err` */
static void put_reason(FILE *stream, enum store_err err, const char *words,
                       const struct store_fault *fault)
{
    enum detail detail = detail_of(err);

    if (!words)
        words = store_strerror(err);
    if (!fault || (!fault->object[0] && !fault->reason[0] && !fault->sys_errno))
        detail = DETAIL_NONE;
    if (is_about_record(fault))
        detail = DETAIL_BEHIND;
    if (detail == DETAIL_INSTEAD && fault->reason[0]) {
        put_detail(stream, fault);
        return;
    }
    fputs(words, stream);
    if (detail == DETAIL_BEHIND) {
        fputs(" (", stream);
        put_detail(stream, fault);
        fputc(')', stream);
    }
}

static enum status report(const struct task *task, enum store_err err, const struct fail_hint *hint,
                          const struct store_fault *fault)
{
    const char *next = hint ? hint->next : next_step(err);
    struct line line;

    if (fault && fault->code != err)
        fault = NULL;
    if (is_about_record(fault))
        next = "'--audit none' does it unrecorded";
    line_begin(&line);
    line_task(&line, task);
    if (line.stream) {
        put_reason(line.stream, err, hint ? hint->reason : NULL, fault);
        if (next)
            fprintf(line.stream, "; %s", next);
    }
    line_end(&line);
    return status_of(err);
}

enum status fail_store(const struct task *task, enum store_err err)
{
    return report(task, err, NULL, store_fault());
}

enum status fail_hinted(const struct task *task, enum store_err err, const struct fail_hint *hints)
{
    for (const struct fail_hint *hint = hints; hint && hint->err != STORE_OK; hint++) {
        if (hint->err == err)
            return report(task, err, hint, store_fault());
    }
    return fail_store(task, err);
}

enum status fail_code(const struct task *task, enum store_err err)
{
    return report(task, err, NULL, NULL);
}

enum status fail(const struct task *task, enum status status, const char *next, const char *format,
                 ...)
{
    struct line line;
    va_list args;

    line_begin(&line);
    line_task(&line, task);
    if (line.stream) {
        va_start(args, format);
        vfprintf(line.stream, format, args);
        va_end(args);
        if (next)
            fprintf(line.stream, "; %s", next);
    }
    line_end(&line);
    return status;
}

enum status fail_usage(const char *command, const char *format, ...)
{
    struct line line;
    va_list args;

    line_begin(&line);
    if (line.stream) {
        if (command)
            fprintf(line.stream, "%s: ", command);
        va_start(args, format);
        vfprintf(line.stream, format, args);
        va_end(args);
        fprintf(line.stream, "; see 'secretctl %s%s--help'", command ? command : "",
                command ? " " : "");
    }
    line_end(&line);
    return STATUS_USAGE;
}

void fail_remark(const char *text)
{
    struct line line;

    line_begin(&line);
    if (line.stream)
        fputs(text, line.stream);
    line_end(&line);
}
