/*
 * Failures as people see them: one line on standard error, and an exit status.
 *
 * Every sentence about a failure is made here, from what was to be done (struct task) and the code
 * or reason; nothing else of the tool writes to standard error. Values never get here.
 */
#ifndef TOOLS_FAIL_H
#define TOOLS_FAIL_H

#include "error.h"

/* The exit statuses, the same for all commands. */
enum status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_NO_PATH = 3,
    STATUS_LOCKED = 4,
    STATUS_INTEGRITY = 5,
    STATUS_UNCONFIRMED = 6,
    STATUS_VERSION = 7,
};

/* What was to be done to what, for "cannot ACTION 'OBJECT'". */
struct task {
    const char *action;
    const char *object;
};

/* What a command has to say about a code where its own words are better than the common ones. */
struct fail_hint {
    enum store_err err;
    const char *reason; /* NULL: the common words */
    const char *next;   /* NULL: none */
};

/*
 * Report `err` as the store's last call returned it, with what store_fault() adds. Returns the exit
 * status that belongs to the code.
 * in:  hints  ends with STORE_OK; NULL for none
 */
enum status fail_store(const struct task *task, enum store_err err);
enum status fail_hinted(const struct task *task, enum store_err err, const struct fail_hint *hints);

/* The same for a code that this program came to itself, so that store_fault() says nothing of it.
 */
enum status fail_code(const struct task *task, enum store_err err);

/* Report a reason of the tool's own. Returns `status`. in: next  what to do about it; NULL for
 * nothing */
__attribute__((format(printf, 4, 5))) enum status fail(const struct task *task, enum status status,
                                                       const char *next, const char *format, ...);

/* Report a wrong use of `command` (NULL: of secretctl itself). Returns STATUS_USAGE. */
__attribute__((format(printf, 2, 3))) enum status fail_usage(const char *command,
                                                             const char *format, ...);

/* A line on standard error about something that did not fail. */
void fail_remark(const char *text);

#endif
