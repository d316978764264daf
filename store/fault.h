/*
 * How the library's own modules note what failed. Private; see error.h for the reader's side.
 */
#ifndef STORE_FAULT_H
#define STORE_FAULT_H

#include "error.h"

#include <stdint.h>

/*
 * Note a fault for this thread and return `code`, so that a function can end with
 * `return fault(...)`. `operation` and `reason` must be constants; `reason` may be NULL. `object`
 * may be NULL.
 */
enum store_err fault(enum store_err code, const char *operation, const char *object,
                     const char *reason);

/* The same for row `id` of `table`. */
enum store_err fault_row(enum store_err code, const char *operation, const char *table, uint64_t id,
                         const char *reason);

/* The same for a system call that failed with `sys_errno`, from which the code is derived. */
enum store_err fault_errno(int sys_errno, const char *operation, const char *object);

/* Change the code of the fault just noted, where the caller knows better what it means. */
enum store_err fault_recode(enum store_err code);

/* The same for SQLite's extended `sqlite_code`; sys_errno is what it saw of the system, or 0. */
enum store_err fault_sqlite(enum store_err code, const char *operation, int sqlite_code,
                            int sys_errno);

#endif
