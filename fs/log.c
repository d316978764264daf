/*
 * Lines on standard error. See log.h.
 */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINES_A_SECOND 20

static bool with_levels;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit limit; /* under `lock` */

bool log_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char here[64];
    struct stat st;

    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(here, sizeof here, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, here) == 0;
}

void log_set_levels(bool levels)
{
    with_levels = levels;
}

bool log_has_levels(void)
{
    return with_levels;
}

bool log_limit_pass(struct log_limit *l, unsigned *ret_dropped)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (l->second != now.tv_sec)
        *l = (struct log_limit){.second = now.tv_sec, .dropped = l->dropped};
    if (l->lines == LINES_A_SECOND) {
        l->dropped++;
        return false;
    }
    l->lines++;
    *ret_dropped = l->dropped;
    l->dropped = 0;
    return true;
}

static void write_line(int level, const char *text)
{
    if (with_levels)
        fprintf(stderr, "<%d>%s\n", level, text);
    else
        fprintf(stderr, "secretfs: %s\n", text);
}

static bool may_write(void)
{
    unsigned dropped = 0;
    char text[64];

    pthread_mutex_lock(&lock);
    bool pass = log_limit_pass(&limit, &dropped);
    pthread_mutex_unlock(&lock);
    if (dropped > 0) {
        snprintf(text, sizeof text, "%u lines were left out here", dropped);
        write_line(LOG_WARNING, text);
    }
    return pass;
}

__attribute__((format(printf, 2, 0))) static void log_at(int level, const char *format,
                                                         va_list args)
{
    char text[1024];

    if (level != LOG_DEBUG && !may_write())
        return;
    vsnprintf(text, sizeof text, format, args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    write_line(level, text);
}

#define DEFINE_LOG(name, level)        \
    void name(const char *format, ...) \
    {                                  \
        va_list args;                  \
                                       \
        va_start(args, format);        \
        log_at((level), format, args); \
        va_end(args);                  \
    }

DEFINE_LOG(log_error, LOG_ERR)
DEFINE_LOG(log_warning, LOG_WARNING)
DEFINE_LOG(log_line, LOG_INFO)
DEFINE_LOG(log_debug, LOG_DEBUG)

static const char *next_step(enum store_err err)
{
    switch (err) {
    case STORE_ERR_NO_STORE:
        return "; make one with 'secretctl init'";
    case STORE_ERR_KEY:
        return "; name the right one with -o key_file=FILE or -o passphrase_fd=N";
    case STORE_ERR_INTEGRITY:
        return "; 'secretctl check' looks closer, a backup helps";
    case STORE_ERR_ANCHOR:
        return "; if that is on purpose, 'secretctl anchor accept' accepts it";
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
    case STORE_ERR_REVOKED:
    case STORE_ERR_EXPIRED:
        break;
    }
    return "";
}

void log_store_error(const char *action, const char *object, enum store_err err)
{
    const struct store_fault *f = store_fault();
    const char *why = f->sys_errno ? strerror(f->sys_errno) : f->reason;

    if (why[0] == '\0')
        log_error("cannot %s '%s': %s%s", action, object, store_strerror(err), next_step(err));
    else if (err == STORE_ERR_INTEGRITY || err == STORE_ERR_FORMAT || err == STORE_ERR_ANCHOR)
        log_error("cannot %s '%s': %s (%s%s%s)%s", action, object, store_strerror(err), f->object,
                  f->object[0] ? ": " : "", why, next_step(err));
    else
        log_error("cannot %s '%s': %s%s", action, object, why,
                  err == STORE_ERR_KEY ? "" : next_step(err));
}

void log_system_error(const char *action, const char *object, int sys_errno)
{
    log_error("cannot %s '%s': %s", action, object, strerror(sys_errno));
}
