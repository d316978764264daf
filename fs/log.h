/*
 * What the daemon has to say: whole lines on standard error, never with a value.
 */
#ifndef FS_LOG_H
#define FS_LOG_H

#include "error.h"

/* `secretfs: ` and the formatted text, as one write. thread: safe */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/*
 * One line of the form `secretfs: cannot ACTION 'OBJECT': REASON`. The reason comes from `err` and
 * the thread's store_fault(), so call it before anything else fails.
 */
void log_store_error(const char *action, const char *object, enum store_err err);

/* The same for a system call that failed. */
void log_system_error(const char *action, const char *object, int sys_errno);

#endif
