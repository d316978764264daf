/*
 * What the daemon has to say: whole lines on standard error, never with a value. To a person each
 * begins with `secretfs: `, to the journal or to background.c with its level, as `<3>`, see
 * sd-daemon(3).
 *
 * A process writes 20 lines a second at most, and then one that tells how many it left out; what
 * -o debug asks for is exempt.
 */
#ifndef FS_LOG_H
#define FS_LOG_H

#include "error.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether standard error is the journal, by $JOURNAL_STREAM (systemd.exec(5)). */
bool log_is_journal(void);

/* Begin lines with their level from now on. Call it before there are threads. */
void log_set_levels(bool levels);
bool log_has_levels(void);

/* The formatted text as a line, by one write; control characters become '?'. thread: safe */
__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_warning(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...); /* level info */
__attribute__((format(printf, 1, 2))) void log_debug(const char *format, ...);

/*
 * An error of the form `cannot ACTION 'OBJECT': REASON`. The reason comes from `err` and the
 * thread's store_fault(), so call it before anything else fails.
 */
void log_store_error(const char *action, const char *object, enum store_err err);

/* The same for a system call that failed. */
void log_system_error(const char *action, const char *object, int sys_errno);

/* Lines counted by the second; all zero at first. */
struct log_limit {
    int64_t second;
    unsigned lines;
    unsigned dropped;
};

/*
 * Whether one more line may be written. If so, *ret_dropped is how many could not be since the last
 * that could. thread: lock it yourself
 */
bool log_limit_pass(struct log_limit *limit, unsigned *ret_dropped);

#endif
