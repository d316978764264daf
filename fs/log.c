/*
 * Lines on standard error. See log.h.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void log_line(const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "secretfs: %s\n", line);
}

static const char *next_step(enum store_err err)
{
    switch (err) {
    case STORE_ERR_NO_STORE:
        return "; make one with 'secretctl init'";
    case STORE_ERR_KEY:
        return "; name the right one with -o key_file=FILE or -o passphrase_fd=N";
    case STORE_ERR_INTEGRITY:
        return "; 'secretctl check' looks closer, a backup helps";
    case STORE_ERR_MEMORY_LOCK:
        return "; raise the limit (ulimit -l), or give -o allow_swap";
    case STORE_ERR_BUSY:
        return "; 'lslocks' tells by which";
    case STORE_OK:
    case STORE_ERR_NOT_FOUND:
    case STORE_ERR_NO_VERSION:
    case STORE_ERR_EXISTS:
    case STORE_ERR_NOT_DIRECTORY:
    case STORE_ERR_IS_DIRECTORY:
    case STORE_ERR_NOT_EMPTY:
    case STORE_ERR_NAME:
    case STORE_ERR_LIMIT:
    case STORE_ERR_INVALID:
    case STORE_ERR_FORMAT:
    case STORE_ERR_DENIED:
    case STORE_ERR_NO_SPACE:
    case STORE_ERR_IO:
    case STORE_ERR_NO_MEMORY:
        break;
    }
    return "";
}

void log_store_error(const char *action, const char *object, enum store_err err)
{
    const struct store_fault *f = store_fault();
    const char *why = f->sys_errno ? strerror(f->sys_errno) : f->reason;

    if (why[0] == '\0')
        log_line("cannot %s '%s': %s%s", action, object, store_strerror(err), next_step(err));
    else if (err == STORE_ERR_INTEGRITY || err == STORE_ERR_FORMAT)
        log_line("cannot %s '%s': %s (%s%s%s)%s", action, object, store_strerror(err), f->object,
                 f->object[0] ? ": " : "", why, next_step(err));
    else
        log_line("cannot %s '%s': %s%s", action, object, why,
                 err == STORE_ERR_KEY ? "" : next_step(err));
}

void log_system_error(const char *action, const char *object, int sys_errno)
{
    log_line("cannot %s '%s': %s", action, object, strerror(sys_errno));
}
