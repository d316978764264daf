/*
 * See reads.h. Lines are written by the threads that answer, one after the other (the log has a
 * lock between them), and made durable by a thread of this module, or by all that wait, together.
 *
 * Lock order: `file`, shared by those that append, then `lock`.
 */
#include "reads.h"
#include "audit_journal.h"
#include "clock.h"
#include "log.h"
#include "loop.h"
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SYNC_MS 500   /* from a line to its sync; promised is a second */
#define FLOOD_LINES 8 /* that refusals of one kind get in a second; the others are counted */

struct reads {
    struct store *store;
    struct kept_reads *kept;
    struct callers *callers;
    struct reads_options options;
    pthread_rwlock_t file;
    struct audit_log *log;           /* NULL: there is no file */
    pthread_mutex_t lock;            /* of what is kept */
    _Atomic enum store_err failed;   /* why the last line was not written; 0: it was */
    _Atomic enum store_err unsynced; /* why the last sync failed; 0: it did not */
    _Atomic bool dirty;              /* there is something to sync, or a flood to end */
    uint64_t lost;                   /* copies, when that was last looked at, */
    bool losing;                     /* and whether it was so then: the thread's */
    _Atomic bool stopped;
    sem_t wake;
    pthread_t thread;
};

/* An entry of nobody's. */
static struct audit_entry entry_of(enum audit_event event, const char *result)
{
    return (struct audit_entry){
        .event = event, .who = {.uid = UINT32_MAX, .gid = UINT32_MAX}, .result = result};
}

/* ---- Appending ----------------------------------------------------------- */

/* Say once that reads are not recorded, and once that they are again. */
static void note_result(struct reads *r, enum store_err err)
{
    const char *action = r->options.optional ? "record reads of" : "record, so answer, reads of";

    if (err == STORE_ERR_NO_STORE)
        r->kept->lost = true; /* again, if what was found is gone, too */
    if (err == atomic_exchange(&r->failed, err))
        return;
    if (err == STORE_ERR_NO_STORE)
        log_error("cannot %s '%s': the record's file was removed; make one by touch(1) or SIGUSR1",
                  action, store_path(r->store));
    else if (err)
        log_store_error(action, store_path(r->store), err);
    else
        log_line("reads of '%s' are recorded again", store_path(r->store));
}

static void keep_head(struct reads *r)
{
    struct kept_reads *kept = r->kept;
    struct audit_head head = audit_log_seen(r->log);

    pthread_mutex_lock(&r->lock);
    uint32_t now = kept->head % 2;
    if (head.number > kept->heads[now].number) {
        kept->heads[!now] = head;
        kept->head++;
    }
    pthread_mutex_unlock(&r->lock);
}

/* A request is noted before its line is written: whether that was is then seen in the file. */
struct intent {
    struct kept_reads *kept;
    const struct reads_note *note;
};

static void keep_intent(void *arg, const struct audit_place *place)
{
    const struct intent *intent = arg;
    struct kept_recorded *slot = &intent->kept->recorded[intent->kept->next++ % KEPT_RECORDED];

    slot->request = 0;
    slot->id = intent->note->id;
    slot->error = intent->note->error;
    slot->place = *place;
    slot->request = intent->note->request & ~FUSE_UNIQUE_RESEND;
}

/* Whether a request that was sent again is on record, with the same answer. */
static bool is_recorded(struct reads *r, const struct reads_note *note)
{
    uint64_t request = note->request & ~FUSE_UNIQUE_RESEND;

    for (unsigned i = 0; request != note->request && i < KEPT_RECORDED; i++) {
        const struct kept_recorded *slot = &r->kept->recorded[i];
        if (slot->request == request && slot->id == note->id && slot->error == note->error &&
            audit_has(r->log, &slot->place))
            return true;
    }
    return false;
}

/* There is something for the thread to do. */
static void wake(struct reads *r)
{
    if (!atomic_exchange(&r->dirty, true))
        sem_post(&r->wake);
}

static enum store_err append(struct reads *r, const struct audit_entry *entry,
                             struct intent *intent)
{
    if (r->log == NULL)
        return STORE_ERR_NO_STORE;
    enum store_err err = audit_append(r->log, entry, intent ? keep_intent : NULL, intent);
    if (err)
        return err;
    keep_head(r);
    wake(r);
    if (!r->options.sync)
        return r->unsynced;
    pool_yield();
    return audit_sync(r->log);
}

/* Tell of what could not be recorded when it was answered. */
static enum store_err append_gap(struct reads *r)
{
    struct audit_entry entry = entry_of(AUDIT_GAP, "ok");

    entry.count = atomic_exchange(&r->kept->unrecorded, 0);
    entry.detail = "answered, and not on record";
    enum store_err err = entry.count ? append(r, &entry, NULL) : STORE_OK;
    if (err)
        r->kept->unrecorded += entry.count;
    return err;
}

/* ---- Floods -------------------------------------------------------------- */

static int64_t now_s(void)
{
    return clock_ns(CLOCK_REALTIME_COARSE) / CLOCK_SECOND_NS;
}

static void fill_entry(const struct reads *r, const struct reads_note *note, char *path,
                       struct audit_entry *entry)
{
    struct store_attr attr = {.number = 0};

    *entry = entry_of(note->event, note->error ? strerrorname_np(note->error) : "ok");
    entry->who.uid = note->uid;
    entry->who.gid = note->gid;
    entry->inferred = note->inferred;
    if (store_stat(r->store, note->id, &attr) == STORE_OK) {
        entry->version = attr.number;
        if (store_path_below(r->store, STORE_ROOT_ID, attr.node, path) == STORE_OK)
            entry->path = path[0] ? path : "/";
    }
}

/* A line for those of a flood that got none. Takes the flood's count with it. */
static enum store_err append_flood(struct reads *r, const struct kept_flood *flood)
{
    const struct reads_note note = {
        .event = flood->event, .id = flood->id, .uid = flood->uid, .gid = UINT32_MAX};
    char path[STORE_PATH_MAX];
    struct audit_entry entry;

    fill_entry(r, &note, path, &entry);
    entry.count = flood->counted;
    entry.result = "refused";
    return append(r, &entry, NULL);
}

static struct kept_flood *place_of(struct reads *r, const struct reads_note *note)
{
    uint64_t hash = (note->id * 0x9e3779b97f4a7c15U) ^ (note->uid * 0xc2b2ae3d27d4eb4fU) ^
                    (uint64_t)note->event;
    return &r->kept->floods[(hash ^ (hash >> 32)) % KEPT_FLOODS];
}

/*
 * Whether a refusal is one too many, and only counted. What was counted in the place that it takes,
 * of another kind or second, goes to `ret_over`, whose line is to be written.
 */
static bool is_flood(struct reads *r, const struct reads_note *note, struct kept_flood *ret_over)
{
    int64_t second = now_s();
    bool counted = false;

    *ret_over = (struct kept_flood){.counted = 0};
    if (note->error == 0)
        return false;
    pthread_mutex_lock(&r->lock);
    struct kept_flood *f = place_of(r, note);
    if (f->id != note->id || f->uid != note->uid || f->event != (uint32_t)note->event ||
        f->second != second) {
        *ret_over = *f;
        *f = (struct kept_flood){
            .id = note->id, .second = second, .uid = note->uid, .event = (uint32_t)note->event};
    }
    if (f->written < FLOOD_LINES)
        f->written++;
    else {
        f->counted++;
        counted = true;
    }
    pthread_mutex_unlock(&r->lock);
    return counted;
}

/* Write the lines of floods that are over, or of all. Returns whether some are to be written later.
 */
static bool end_floods(struct reads *r, bool all)
{
    int64_t second = now_s();
    bool left = false;

    for (unsigned i = 0; i < KEPT_FLOODS; i++) {
        struct kept_flood *f = &r->kept->floods[i];
        pthread_mutex_lock(&r->lock);
        struct kept_flood over = *f;
        bool due = over.counted > 0 && (all || over.second != second);
        if (due)
            f->counted = 0;
        pthread_mutex_unlock(&r->lock);
        enum store_err err = due ? append_flood(r, &over) : STORE_OK;
        if (err) {
            pthread_mutex_lock(&r->lock);
            f->counted += over.counted;
            pthread_mutex_unlock(&r->lock);
        }
        left |= over.counted > 0 && (!due || err);
    }
    return left;
}

/* ---- Recording ----------------------------------------------------------- */

static void add_caller(const struct caller *caller, struct audit_entry *entry)
{
    const struct identity *who = &caller->who;

    entry->who.pid = who->pid;
    entry->who.executable = who->executable[0] ? who->executable : NULL;
    entry->who.unit = who->unit[0] ? who->unit : NULL;
    entry->who.container = who->container[0] ? who->container : NULL;
}

static enum store_err record(struct reads *r, const struct reads_note *note)
{
    struct intent intent = {.kept = r->kept, .note = note};
    char path[STORE_PATH_MAX];
    struct audit_entry entry;
    struct caller caller;
    struct kept_flood over;

    if (r->log && is_recorded(r, note))
        return STORE_OK;
    bool counted = is_flood(r, note, &over);
    enum store_err err = over.counted ? append_flood(r, &over) : STORE_OK;
    if (counted)
        wake(r);
    if (err || counted)
        return err;
    fill_entry(r, note, path, &entry);
    if (callers_find(r->callers, note->thread, false, &caller))
        add_caller(&caller, &entry);
    err = append_gap(r);
    return err ? err : append(r, &entry, &intent);
}

int reads_record(struct reads *r, const struct reads_note *note)
{
    if (r->options.none)
        return 0;
    pthread_rwlock_rdlock(&r->file);
    enum store_err err = record(r, note);
    pthread_rwlock_unlock(&r->file);
    note_result(r, err);
    if (err && r->options.optional)
        r->kept->unrecorded++;
    return err && !r->options.optional ? EIO : 0;
}

void reads_tell(struct reads *r, enum audit_event event, const char *detail)
{
    struct audit_entry entry = entry_of(event, "ok");

    if (r->options.none)
        return;
    entry.detail = detail;
    pthread_rwlock_rdlock(&r->file);
    enum store_err err = append_gap(r);
    if (!err)
        err = append(r, &entry, NULL);
    pthread_rwlock_unlock(&r->file);
    note_result(r, err);
}

/* ---- The thread and the file --------------------------------------------- */

/* Say once that copies get lost, and once that they don't any more. */
static void note_journal(struct reads *r)
{
    int error;

    if (r->options.journal == NULL)
        return;
    uint64_t lost = audit_journal_lost(r->options.journal, &error);
    bool losing = lost > r->lost;
    if (losing && !r->losing)
        log_error("lines of the record don't get to the journal: %s; the file has them",
                  strerror(error));
    else if (r->losing && !losing)
        log_line("lines of the record get to the journal again; %llu have not so far",
                 (unsigned long long)lost);
    r->losing = losing;
    r->lost = lost;
}

static void sync_now(struct reads *r)
{
    pthread_rwlock_rdlock(&r->file);
    bool left = end_floods(r, r->stopped);
    if (r->log && audit_tampered(r->log))
        log_error("the record of reads of '%s' was changed by somebody else: see 'secretctl audit "
                  "verify'",
                  store_path(r->store));
    if (r->log && atomic_exchange(&r->dirty, false)) {
        enum store_err err = audit_sync(r->log);
        if (err)
            r->dirty = true;
        if (err && !r->unsynced)
            log_store_error("make durable the record of reads of", store_path(r->store), err);
        r->unsynced = err;
    }
    if (left)
        r->dirty = true;
    pthread_rwlock_unlock(&r->file);
    note_journal(r);
}

/* A while after the first line, so that many share a sync. */
static void *run(void *arg)
{
    struct reads *r = arg;
    struct timespec until;

    while (!r->stopped) {
        while (!r->dirty && sem_wait(&r->wake) != 0)
            ;
        until = clock_after_ms(CLOCK_REALTIME, SYNC_MS);
        while (!r->stopped && sem_timedwait(&r->wake, &until) == 0)
            ;
        if (!r->stopped)
            sync_now(r);
    }
    sync_now(r);
    return NULL;
}

void reads_use(struct reads *r, int fd)
{
    struct audit_log *log = NULL;

    if (r->options.none)
        return;
    if (fd < 0) {
        r->kept->lost = true;
        return;
    }
    const struct audit_head *known = &r->kept->heads[r->kept->head % 2];
    enum store_err err = audit_log_new(r->store, fd, known->number ? known : NULL, &log);
    if (err) {
        note_result(r, err);
        return;
    }
    pthread_rwlock_wrlock(&r->file);
    if (r->log && r->dirty && audit_sync(r->log) != STORE_OK)
        log_error("the end of the former record of reads of '%s' may not be durable",
                  store_path(r->store));
    audit_log_free(r->log);
    audit_log_copy(log, r->options.journal);
    r->log = log;
    r->kept->lost = false;
    pthread_rwlock_unlock(&r->file);
}

static void reads_free(struct reads *r)
{
    audit_log_free(r->log);
    sem_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    pthread_rwlock_destroy(&r->file);
    free(r);
}

struct reads *reads_start(struct store *store, int fd, struct kept_reads *kept,
                          struct callers *callers, const struct reads_options *options)
{
    struct reads *r = calloc(1, sizeof *r);

    if (r == NULL) {
        log_system_error("record", "reads", ENOMEM);
        return NULL;
    }
    r->store = store;
    r->kept = kept;
    r->callers = callers;
    r->options = *options;
    pthread_rwlock_init(&r->file, NULL);
    pthread_mutex_init(&r->lock, NULL);
    sem_init(&r->wake, 0, 0);
    reads_use(r, fd);
    int error = options->none ? 0 : pthread_create(&r->thread, NULL, run, r);
    if (error == 0)
        return r;
    log_system_error("record", "reads", error);
    reads_free(r);
    return NULL;
}

void reads_stop(struct reads *r)
{
    if (r == NULL)
        return;
    if (!r->options.none) {
        r->stopped = r->dirty = true;
        sem_post(&r->wake);
        pthread_join(r->thread, NULL);
    }
    reads_free(r);
}
