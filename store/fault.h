/*
 * How the library's own modules note what failed. Private; see error.h for the reader's side.
 */
#ifndef STORE_FAULT_H
#define STORE_FAULT_H

#include "error.h"

#include <stdint.h>

/* Set the thread's fault. Strings but `object` must be constants; `object` and `reason` may be
 * NULL. */
void fault_note(enum store_err code, const char *operation, const char *object, const char *reason,
                int sys_errno, int sqlite_code);

/* Set it for row `id` of `table`. */
void fault_note_row(enum store_err code, const char *operation, const char *table, uint64_t id,
                    const char *reason);

/* What `sys_errno` is in the store's terms; never STORE_OK. */
enum store_err fault_code_of(int sys_errno);

/* Change the code of the fault just noted, where the caller knows better what it means. */
void fault_change_code(enum store_err code);

/* Set it to an earlier one, whose strings are still there. */
void fault_restore(const struct store_fault *kept);

/* Each returns the code that it notes, so that a function can end with `return fault(...)`. Inline,
 * so that compilers and analysers see that it is not STORE_OK. */

static inline enum store_err fault(enum store_err code, const char *operation, const char *object,
                                   const char *reason)
{
    fault_note(code, operation, object, reason, 0, 0);
    return code;
}

static inline enum store_err fault_row(enum store_err code, const char *operation,
                                       const char *table, uint64_t id, const char *reason)
{
    fault_note_row(code, operation, table, id, reason);
    return code;
}

/* For a system call that failed. */
static inline enum store_err fault_errno(int sys_errno, const char *operation, const char *object)
{
    enum store_err code = fault_code_of(sys_errno);
    if (code == STORE_OK)
        __builtin_unreachable();
    fault_note(code, operation, object, "", sys_errno, 0);
    return code;
}

static inline enum store_err fault_recode(enum store_err code)
{
    fault_change_code(code);
    return code;
}

#endif
