/*
 * See audit_journal.h. Allocates nothing for a line, as it is sent for every read that is answered.
 *
 * The socket is given the address with each datagram, so that a journal that was away meanwhile is
 * found again.
 */
#include "audit_journal.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define MESSAGE_BYTES (3 * AUDIT_LINE_MAX)            /* more than all strings of a line, twice */
#define MESSAGE_ID "5f0a6c1d7b3e4a0c9d2b8e64c1f7a935" /* of all that is on record */

struct audit_journal {
    enum audit_journal_kind kind;
    int fd;
    const char *program;
    const char *store;
    _Atomic uint64_t lost;
    _Atomic int error;
    size_t used; /* of `message` */
    char message[MESSAGE_BYTES];
};

/* ---- The socket ---------------------------------------------------------- */

static struct sockaddr_un address_of(enum audit_journal_kind kind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s",
             kind == AUDIT_JOURNAL_NATIVE ? AUDIT_JOURNAL_SOCKET : AUDIT_SYSLOG_SOCKET);
    return address;
}

enum audit_journal_kind audit_journal_find(int *ret_fd)
{
    static const enum audit_journal_kind kinds[] = {AUDIT_JOURNAL_NATIVE, AUDIT_JOURNAL_SYSLOG};

    *ret_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; *ret_fd >= 0 && i < sizeof kinds / sizeof *kinds; i++) {
        struct sockaddr_un address = address_of(kinds[i]);
        if (connect(*ret_fd, (struct sockaddr *)&address, sizeof address) == 0)
            return kinds[i];
    }
    if (*ret_fd >= 0)
        close(*ret_fd);
    *ret_fd = -1;
    return AUDIT_JOURNAL_NONE;
}

struct audit_journal *audit_journal_new(enum audit_journal_kind kind, int fd, const char *program,
                                        const char *store)
{
    struct audit_journal *journal = calloc(1, sizeof *journal);

    if (journal == NULL) {
        close(fd);
        return NULL;
    }
    journal->kind = kind;
    journal->fd = fd;
    journal->program = program;
    journal->store = store;
    return journal;
}

void audit_journal_free(struct audit_journal *journal)
{
    if (journal)
        close(journal->fd);
    free(journal);
}

uint64_t audit_journal_lost(const struct audit_journal *journal, int *ret_errno)
{
    *ret_errno = journal->error;
    return journal->lost;
}

/* ---- What is said -------------------------------------------------------- */

/* What does not fit is left out; strings are shorter than that by far. */
__attribute__((format(printf, 2, 3))) static void put(struct audit_journal *j, const char *format,
                                                      ...)
{
    size_t room = sizeof j->message - j->used;
    va_list args;

    va_start(args, format);
    int len = vsnprintf(j->message + j->used, room, format, args);
    va_end(args);
    if (len > 0 && (size_t)len < room)
        j->used += (size_t)len;
}

static void put_bytes(struct audit_journal *j, const void *bytes, size_t len)
{
    memcpy(j->message + j->used, bytes, len);
    j->used += len;
}

/* A field of any bytes: its name and a newline, its length in 8 bytes, itself and a newline. */
static void put_text(struct audit_journal *j, const char *name, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    unsigned char size[8];

    if (text == NULL || sizeof j->message - j->used < strlen(name) + len + sizeof size + 3)
        return;
    for (size_t i = 0; i < sizeof size; i++)
        size[i] = (unsigned char)((uint64_t)len >> 8 * i);
    put(j, "%s\n", name);
    put_bytes(j, size, sizeof size);
    put_bytes(j, text, len);
    put_bytes(j, "\n", 1);
}

static void put_number(struct audit_journal *j, const char *name, uint64_t number, uint64_t null)
{
    if (number != null)
        put(j, "%s=%llu\n", name, (unsigned long long)number);
}

static bool is_ok(const struct audit_entry *entry)
{
    return entry->result == NULL || strcmp(entry->result, "ok") == 0;
}

static int level_of(const struct audit_entry *entry)
{
    if (entry->event == AUDIT_INTEGRITY)
        return LOG_ERR;
    return is_ok(entry) && entry->event != AUDIT_GAP ? LOG_INFO : LOG_WARNING;
}

/* A line for people; control characters of a program's name become '?'. */
static void put_sentence(struct audit_journal *j, const struct audit_entry *entry)
{
    size_t begin = j->used + strlen("MESSAGE=");

    put(j, "MESSAGE=%s", audit_event_name(entry->event));
    if (entry->path)
        put(j, " '%s'", entry->path);
    if (entry->version)
        put(j, " version %u", entry->version);
    if (entry->who.uid != UINT32_MAX)
        put(j, " by user %u", entry->who.uid);
    if (entry->who.executable)
        put(j, " with %s", entry->who.executable);
    put(j, ": %s", is_ok(entry) ? "ok" : entry->result);
    if (entry->detail)
        put(j, "; %s", entry->detail);
    if (entry->count)
        put(j, "; %llu times", (unsigned long long)entry->count);
    for (char *c = j->message + begin; c < j->message + j->used; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    put(j, "\n");
}

static void form_fields(struct audit_journal *j, const struct audit_copy *copy)
{
    const struct audit_entry *entry = copy->entry;
    const struct audit_actor *who = &entry->who;
    char chain[2 * AUDIT_HASH_BYTES + 1];

    put_sentence(j, entry);
    put(j, "MESSAGE_ID=" MESSAGE_ID "\nPRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\n",
        level_of(entry), LOG_FAC(LOG_AUTHPRIV), j->program);
    put_text(j, "SECRETFS_STORE", j->store);
    put_text(j, "SECRETFS_EVENT", audit_event_name(entry->event));
    put_number(j, "SECRETFS_SEQ", copy->sequence, 0);
    put_text(j, "SECRETFS_PATH", entry->path);
    put_number(j, "SECRETFS_VERSION", entry->version, 0);
    put_number(j, "SECRETFS_UID", who->uid, UINT32_MAX);
    put_number(j, "SECRETFS_GID", who->gid, UINT32_MAX);
    put_number(j, "SECRETFS_PID", who->pid, 0);
    put_text(j, "SECRETFS_EXECUTABLE", who->executable);
    put_text(j, "SECRETFS_UNIT", who->unit);
    put_text(j, "SECRETFS_CONTAINER", who->container);
    put_text(j, "SECRETFS_SUDO", who->sudo ? "true" : NULL);
    put_text(j, "SECRETFS_RESULT", is_ok(entry) ? "ok" : entry->result);
    put_text(j, "SECRETFS_DETAIL", entry->detail);
    put_number(j, "SECRETFS_COUNT", entry->count, 0);
    put_text(j, "SECRETFS_INFERRED", entry->inferred ? "true" : NULL);
    put_text(j, "SECRETFS_CHAIN",
             sodium_bin2hex(chain, sizeof chain, copy->chain, AUDIT_HASH_BYTES));
}

/* Without a time, which a process that sees no other files can't tell as it is here: syslog takes
 * that of its coming. */
static void form_line(struct audit_journal *j, const struct audit_copy *copy)
{
    put(j, "<%d>%s[%d]: @cee: %.*s", LOG_AUTHPRIV | level_of(copy->entry), j->program,
        (int)getpid(), (int)copy->len - 1, copy->line);
}

void audit_journal_send(struct audit_journal *j, const struct audit_copy *copy)
{
    struct sockaddr_un address = address_of(j->kind);
    ssize_t n;

    j->used = 0;
    if (j->kind == AUDIT_JOURNAL_NATIVE)
        form_fields(j, copy);
    else
        form_line(j, copy);
    do
        n = sendto(j->fd, j->message, j->used, MSG_DONTWAIT | MSG_NOSIGNAL,
                   (struct sockaddr *)&address, sizeof address);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return;
    j->error = errno;
    j->lost++;
}
