/*
 * Faults: one per thread, and where errno becomes one of the store's own codes.
 */
#include "error.h"
#include "fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static _Thread_local struct store_fault last = {.operation = "", .reason = ""};

const struct store_fault *store_fault(void)
{
    return &last;
}

void fault_note(enum store_err code, const char *operation, const char *object, const char *reason,
                int sys_errno, int sqlite_code)
{
    last = (struct store_fault){.code = code,
                                .operation = operation,
                                .reason = reason ? reason : "",
                                .sys_errno = sys_errno,
                                .sqlite_code = sqlite_code};
    snprintf(last.object, sizeof last.object, "%s", object ? object : "");
}

void fault_note_row(enum store_err code, const char *operation, const char *table, uint64_t id,
                    const char *reason)
{
    char object[48];
    snprintf(object, sizeof object, "%s %" PRIu64, table, id);
    fault_note(code, operation, object, reason, 0, 0);
}

enum store_err fault_code_of(int sys_errno)
{
    switch (sys_errno) {
    case ENOENT:
        return STORE_ERR_NO_STORE;
    case EEXIST:
        return STORE_ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return STORE_ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
        return STORE_ERR_NO_SPACE;
    case ENOMEM:
        return STORE_ERR_NO_MEMORY;
    default:
        return STORE_ERR_IO;
    }
}

void fault_change_code(enum store_err code)
{
    last.code = code;
}

void fault_restore(const struct store_fault *kept)
{
    last = *kept;
}

const char *store_strerror(enum store_err code)
{
    switch (code) {
    case STORE_OK:
        return "done";
    case STORE_ERR_NOT_FOUND:
        return "no such path";
    case STORE_ERR_NO_VERSION:
        return "no such version";
    case STORE_ERR_EXISTS:
        return "it exists already";
    case STORE_ERR_NOT_DIRECTORY:
        return "not a directory";
    case STORE_ERR_IS_DIRECTORY:
        return "it is a directory";
    case STORE_ERR_NOT_EMPTY:
        return "the directory is not empty";
    case STORE_ERR_NAME:
        return "not a valid name";
    case STORE_ERR_LIMIT:
        return "beyond a limit of the store";
    case STORE_ERR_INVALID:
        return "not possible";
    case STORE_ERR_NO_STORE:
        return "no such file or directory";
    case STORE_ERR_FORMAT:
        return "not a store that this version knows";
    case STORE_ERR_KEY:
        return "the key does not open it";
    case STORE_ERR_INTEGRITY:
        return "the store is damaged or was tampered with";
    case STORE_ERR_BUSY:
        return "the store is locked by another process";
    case STORE_ERR_DENIED:
        return "access to a file was denied";
    case STORE_ERR_NO_SPACE:
        return "no space left on the disk";
    case STORE_ERR_IO:
        return "input/output error";
    case STORE_ERR_NO_MEMORY:
        return "out of memory";
    case STORE_ERR_MEMORY_LOCK:
        return "memory could not be locked against swapping";
    case STORE_ERR_REVOKED:
        return "the version was revoked";
    case STORE_ERR_EXPIRED:
        return "the secret has expired";
    case STORE_ERR_ANCHOR:
        return "it is not the state of the store that was last seen";
    }
    return "unknown error";
}
