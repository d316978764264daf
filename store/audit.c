/*
 * Appending. There is no lock between processes: a stopped or slow one must not hold up whoever
 * reads secrets. A line is one write(2) to a file opened with O_APPEND, so that lines never mix;
 * where it came to stand is known only afterwards.
 *
 * `lock` guards the end of the chain and the buffers, `sync_lock` the order of syncs; neither is
 * taken with the other held.
 */
#include "audit.h"
#include "audit_journal.h"
#include "audit_line.h"
#include "audit_tail.h"
#include "fault.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OBJECT AUDIT_OBJECT
#define BUFFER_BYTES (4 * AUDIT_LINE_MAX)

struct audit_log {
    const struct seal_keys *keys;
    int fd;

    pthread_mutex_t lock;
    struct audit_head head;
    uint64_t end; /* where the line of `head` ends */
    bool open;    /* what stands before `end` has no newline, since something was cut off */
    bool tampered;
    struct audit_journal *journal; /* for copies, or NULL */
    struct audit_clock clock;
    char line[1 + AUDIT_LINE_MAX]; /* the first byte for a newline before it */
    char buffer[BUFFER_BYTES];

    atomic_uint_fast64_t appended;
    pthread_mutex_t sync_lock;
    pthread_cond_t sync_done;
    uint64_t synced; /* as many as `appended` was then */
    bool syncing;
};

/* ---- Making -------------------------------------------------------------- */

/* Begin at the end of what is there, or where that is nothing, at what is known. */
static enum store_err find_end(struct audit_log *log, const struct audit_head *known)
{
    struct audit_head found;
    uint64_t end;
    bool any;
    enum store_err err = audit_tail_find(log->fd, &any, &found, &end);

    if (err)
        return err;
    log->head = *known;
    if (!any)
        return STORE_OK;
    log->end = end;
    if (found.number >= known->number)
        log->head = found;
    else
        log->tampered = true;
    return STORE_OK;
}

static struct audit_head recorded_head(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    struct audit_head head = store->root.checkpoint.head;
    pthread_rwlock_unlock(&store->lock);
    return head;
}

enum store_err audit_log_new(struct store *store, int fd, const struct audit_head *known,
                             struct audit_log **ret_log)
{
    struct audit_head base = recorded_head(store);
    struct audit_log *log = calloc(1, sizeof *log);

    if (log == NULL) {
        close(fd);
        return fault(STORE_ERR_NO_MEMORY, "open", OBJECT, NULL);
    }
    log->keys = &store->keys;
    log->fd = fd;
    atomic_init(&log->appended, 0);
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->sync_lock, NULL);
    pthread_cond_init(&log->sync_done, NULL);
    if (known && known->number >= base.number)
        base = *known;
    enum store_err err = find_end(log, &base);
    if (err)
        audit_log_free(log);
    else
        *ret_log = log;
    return err;
}

void audit_log_free(struct audit_log *log)
{
    if (log == NULL)
        return;
    close(log->fd);
    pthread_cond_destroy(&log->sync_done);
    pthread_mutex_destroy(&log->sync_lock);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

void audit_log_copy(struct audit_log *log, struct audit_journal *journal)
{
    log->journal = journal;
}

/* ---- What others appended ------------------------------------------------ */

static ssize_t read_at(const struct audit_log *log, void *ret_bytes, size_t len, uint64_t at)
{
    ssize_t n;

    do
        n = pread(log->fd, ret_bytes, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Whether the line before `at` has ended. */
static bool is_closed(const struct audit_log *log, uint64_t at)
{
    char last;
    return at == 0 || (read_at(log, &last, 1, at - 1) == 1 && last == '\n');
}

/* Follow the chain over the whole lines behind `end`. */
static enum store_err follow(struct audit_log *log, uint64_t size)
{
    while (log->end < size) {
        uint64_t left = size - log->end;
        size_t want = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
        ssize_t n = read_at(log, log->buffer, want, log->end);
        size_t at = 0;
        size_t line_len;
        size_t taken;
        if (n < 0)
            return fault_errno(errno, "read", OBJECT);
        for (; audit_line_end(log->buffer + at, (size_t)n - at, &line_len, &taken); at += taken)
            audit_head_fold(&log->head, log->buffer + at, line_len);
        if (at == 0)
            break;
        log->end += at;
        log->open = false;
    }
    return STORE_OK;
}

/* out: ret_size  of the file; above `end` if an incomplete line stands there */
static enum store_err catch_up(struct audit_log *log, uint64_t *ret_size)
{
    struct statx st;

    /* Not for its times: once they were asked for, the next write has to make new ones. */
    if (statx(log->fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_NLINK, &st) != 0)
        return fault_errno(errno, "write", OBJECT);
    if (st.stx_nlink == 0)
        return fault(STORE_ERR_NO_STORE, "write", OBJECT, "the file was removed");
    *ret_size = st.stx_size;
    if (*ret_size < log->end) {
        log->tampered = true;
        log->end = *ret_size;
        log->open = !is_closed(log, log->end);
    }
    return log->end == *ret_size ? STORE_OK : follow(log, *ret_size);
}

/* ---- Appending ----------------------------------------------------------- */

/* out: ret_at  where it came to stand */
static enum store_err write_line(const struct audit_log *log, const char *line, size_t len,
                                 uint64_t *ret_at)
{
    ssize_t n;

    do
        n = write(log->fd, line, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fault_errno(errno, "write", OBJECT);
    if ((size_t)n < len)
        return fault_errno(ENOSPC, "write", OBJECT);
    off_t end = lseek(log->fd, 0, SEEK_CUR);
    if (end < 0)
        return fault_errno(errno, "write", OBJECT);
    *ret_at = (uint64_t)end - len;
    return STORE_OK;
}

/* Write the line at `line + 1`; behind an incomplete one with a newline before it. */
static enum store_err write_whole(struct audit_log *log, size_t len, uint64_t size,
                                  const unsigned char chain[AUDIT_HASH_BYTES])
{
    bool behind_a_piece = size > log->end || log->open;
    uint64_t at;

    log->line[0] = '\n';
    enum store_err err = write_line(log, log->line + !behind_a_piece, len + behind_a_piece, &at);
    if (err)
        return err;
    if (!behind_a_piece && at == log->end) {
        log->head.number++;
        memcpy(log->head.hash, chain, sizeof log->head.hash);
        log->end = at + len;
    } else if (!behind_a_piece && !is_closed(log, at)) {
        /* It has become part of what somebody else left incomplete just now. */
        err = write_line(log, log->line, len + 1, &at);
    }
    return err;
}

static enum store_err append(struct audit_log *log, const struct audit_entry *entry,
                             audit_before_fn *before, void *arg)
{
    struct audit_place place;
    uint64_t size;
    enum store_err err = catch_up(log, &size);

    if (err)
        return err;
    place.begin = log->end;
    uint64_t sequence = log->head.number + 1;
    size_t len =
        audit_line_write(log->keys, &log->head, &log->clock, entry, log->line + 1, place.chain);
    if (before)
        before(arg, &place);
    err = write_whole(log, len, size, place.chain);
    if (err)
        return err;
    atomic_fetch_add(&log->appended, 1);
    if (log->journal)
        audit_journal_send(log->journal,
                           &(struct audit_copy){entry, sequence, place.chain, log->line + 1, len});
    return STORE_OK;
}

enum store_err audit_append(struct audit_log *log, const struct audit_entry *entry,
                            audit_before_fn *before, void *arg)
{
    pthread_mutex_lock(&log->lock);
    enum store_err err = append(log, entry, before, arg);
    pthread_mutex_unlock(&log->lock);
    return err;
}

/* ---- Asking -------------------------------------------------------------- */

static bool has(struct audit_log *log, const struct audit_place *place)
{
    uint64_t from = place->begin;
    struct audit_link link;

    for (;;) {
        ssize_t n = read_at(log, log->buffer, BUFFER_BYTES, from);
        size_t at = 0;
        size_t len;
        size_t taken;
        if (n <= 0)
            return false;
        for (; audit_line_end(log->buffer + at, (size_t)n - at, &len, &taken); at += taken)
            if (audit_line_parse(log->buffer + at, len, &link) &&
                memcmp(link.chain, place->chain, sizeof link.chain) == 0)
                return true;
        if (at == 0)
            return false;
        from += at;
    }
}

bool audit_has(struct audit_log *log, const struct audit_place *place)
{
    pthread_mutex_lock(&log->lock);
    bool found = has(log, place);
    pthread_mutex_unlock(&log->lock);
    return found;
}

struct audit_head audit_log_head(struct audit_log *log)
{
    uint64_t size;

    pthread_mutex_lock(&log->lock);
    /* Where it can't be read, the head is what was read last. */
    if (catch_up(log, &size) != STORE_OK)
        size = 0;
    struct audit_head head = log->head;
    pthread_mutex_unlock(&log->lock);
    return head;
}

struct audit_head audit_log_seen(struct audit_log *log)
{
    pthread_mutex_lock(&log->lock);
    struct audit_head head = log->head;
    pthread_mutex_unlock(&log->lock);
    return head;
}

bool audit_tampered(struct audit_log *log)
{
    pthread_mutex_lock(&log->lock);
    bool tampered = log->tampered;
    log->tampered = false;
    pthread_mutex_unlock(&log->lock);
    return tampered;
}

/* ---- Syncing ------------------------------------------------------------- */

/* Under `sync_lock`, which is let go of meanwhile. */
static enum store_err sync_once(struct audit_log *log)
{
    uint64_t covered = atomic_load(&log->appended);

    log->syncing = true;
    pthread_mutex_unlock(&log->sync_lock);
    int failed = fdatasync(log->fd) == 0 ? 0 : errno;
    pthread_mutex_lock(&log->sync_lock);
    log->syncing = false;
    if (!failed)
        log->synced = covered;
    pthread_cond_broadcast(&log->sync_done);
    return failed ? fault_errno(failed, "sync", OBJECT) : STORE_OK;
}

enum store_err audit_sync(struct audit_log *log)
{
    uint64_t wanted = atomic_load(&log->appended);
    enum store_err err = STORE_OK;

    pthread_mutex_lock(&log->sync_lock);
    while (log->synced < wanted && !err) {
        if (log->syncing)
            pthread_cond_wait(&log->sync_done, &log->sync_lock);
        else
            err = sync_once(log);
    }
    pthread_mutex_unlock(&log->sync_lock);
    return err;
}
