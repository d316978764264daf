/*
 * A change that doesn't verify is not applied: the state verified last stays served, and the log
 * says so once. Failures are tried again every second, in case it was an I/O error; a locked store
 * more often, so that what was committed is shown soon after the lock is gone. Where a change was
 * applied halfway the worker ends, and the next one loads it all.
 *
 * Time changes things too: a timer wakes the thread when the next secret expires, by the clock that
 * people set, and whenever that is set.
 */
#include "follow.h"
#include "anchor.h"
#include "changes.h"
#include "clock.h"
#include "degraded.h"
#include "log.h"
#include "status.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 1000
#define RETRY_BUSY_MS 100
#define ANCHOR_MS 1000

struct follow {
    struct store *store;
    struct serve *serve;
    struct reads *reads;
    struct kept *kept;
    int watch_fd;
    int stop_fd;
    int timer_fd;
    bool resynced;
    uint64_t anchored;   /* the generation that the anchor was brought to last */
    enum store_err late; /* how that went the last time */
    int64_t anchor_ms;   /* when to bring it to the present one; 0: nothing is to do */
    pthread_t thread;
};

/* In this order: a worker that dies in between must not hold what is shown. */
static void note_applied(struct follow *f)
{
    const char word = HANDOFF_APPLIED;
    uint64_t generation = store_generation(f->store);

    if (f->kept->applied == generation)
        return;
    f->kept->shown = store_next_id(f->store);
    f->kept->applied = generation;
    send(HANDOFF_SOCKET, &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Up to which generation the state that the kernel has been told of and the present one are the
 * same: all of them, or none where another copy has been accepted since. */
static uint64_t shared_until(const struct follow *f)
{
    uint64_t applied = f->kept->applied;

    return anchor_accepted(f->store).generation > applied ? 0 : applied;
}

/* What a former process did not live to tell the kernel. errors: BUSY; it is still to do then. */
static enum store_err resync(struct follow *f)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    enum store_err err = STORE_OK;

    if (f->kept->applied != store_generation(f->store)) {
        err = store_changed_since(f->store, shared_until(f), &changes);
        if (err && err != STORE_ERR_BUSY) {
            log_store_error("read the latest changes of", "the store", err);
            store_hold_names(f->store, UINT64_MAX); /* shown at once, without events */
        }
        if (err != STORE_ERR_BUSY)
            f->resynced = serve_changes(f->serve, &changes, true, f->stop_fd);
    } else {
        f->resynced = true;
    }
    store_changes_release(&changes);
    if (f->resynced)
        note_applied(f);
    return err == STORE_ERR_BUSY ? err : STORE_OK;
}

/*
 * The store answers nothing any more, most likely as memory ran out; the next worker loads it again
 * and tells the kernel from where this one has stopped. The other threads may be at requests, as
 * they are when a worker is killed: those are sent again.
 */
static _Noreturn void end_worker(const struct follow *f, enum store_err err)
{
    log_store_error("go on with", store_path(f->store), err);
    _exit(STATUS_FAILED);
}

static enum store_err refresh(struct follow *f, enum store_err before)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    enum store_err err = f->resynced ? STORE_OK : resync(f);
    if (!err)
        err = store_refresh(f->store, &changes);

    degraded_note(f->kept, err);
    /* What does not verify, a next worker could not load either. */
    if (err && err != STORE_ERR_INTEGRITY && store_is_stale(f->store))
        end_worker(f, err);
    if (err && err != before) {
        log_store_error("follow; serving the last verified state of", store_path(f->store), err);
        if (err == STORE_ERR_INTEGRITY || err == STORE_ERR_ANCHOR)
            reads_tell(f->reads, AUDIT_INTEGRITY, f->kept->degraded.why);
    } else if (!err && before)
        log_line("'%s' is verified again", store_path(f->store));
    bool told = serve_changes(f->serve, &changes, false, f->stop_fd);
    store_changes_release(&changes);
    if (!err && told && f->resynced)
        note_applied(f);
    return err;
}

/* ---- Expiry -------------------------------------------------------------- */

/*
 * Cut off who reads what has expired; at the start that is all that ever has, as nobody knows what
 * a former process left in the kernel's cache. errors: NO_MEMORY; the rest is to be tried again
 */
static enum store_err tell_expired(struct follow *f)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    enum store_err err = store_take_expired(f->store, clock_ns(CLOCK_REALTIME), &changes);

    serve_cut_off(f->serve, &changes);
    store_changes_release(&changes);
    return err;
}

/* Have the timer go off at the next expiry, or far in the future: it tells of set clocks as well.
 */
static void arm_timer(const struct follow *f)
{
    const int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    int failed;

    do {
        int64_t next_ns = store_next_expiry(f->store);
        struct itimerspec timer = {
            .it_value = {next_ns / CLOCK_SECOND_NS, next_ns % CLOCK_SECOND_NS}};
        failed = timerfd_settime(f->timer_fd, flags, &timer, NULL);
        if (failed && errno == ECANCELED)
            store_expire_again(f->store);
    } while (failed && errno == ECANCELED);
    if (failed)
        log_system_error("set", "the timer of expiry", errno);
}

static void drain_timer(const struct follow *f)
{
    uint64_t count;
    if (read(f->timer_fd, &count, sizeof count) < 0 && errno == ECANCELED)
        store_expire_again(f->store);
}

/* ---- The anchor ---------------------------------------------------------- */

/*
 * Whoever commits advances the anchor, too, unless theirs is another one or they were killed: so it
 * is looked at a while later, when there usually is nothing to do. Nobody is waited for.
 */
static void tend_anchor(struct follow *f, bool at_once)
{
    int64_t now = clock_now_ms();
    uint64_t generation = store_generation(f->store);

    if (f->anchor_ms == 0 && generation != f->anchored)
        f->anchor_ms = now + ANCHOR_MS;
    if (f->anchor_ms == 0 || (now < f->anchor_ms && !at_once))
        return;
    enum store_err err = anchor_advance(f->store, 0);
    if (err && err != STORE_ERR_BUSY && err != f->late)
        log_store_error("advance the anchor of", store_path(f->store), err);
    if (!err)
        f->anchored = generation;
    f->late = err;
    f->anchor_ms = err ? now + ANCHOR_MS : 0;
}

/* ---- The thread ---------------------------------------------------------- */

static int retry_ms(enum store_err err)
{
    if (!err)
        return -1;
    return err == STORE_ERR_BUSY ? RETRY_BUSY_MS : RETRY_MS;
}

/* Until something has to be tried again, or the anchor to be looked at; -1: nothing has. */
static int wait_ms(const struct follow *f, enum store_err err)
{
    int retry = retry_ms(err);
    if (f->anchor_ms == 0)
        return retry;
    int64_t left = f->anchor_ms - clock_now_ms();
    int anchor = left > 0 ? (int)left : 0;
    return retry >= 0 && retry < anchor ? retry : anchor;
}

static void *run(void *arg)
{
    struct follow *f = arg;
    struct pollfd fds[] = {{.fd = f->stop_fd, .events = POLLIN},
                           {.fd = f->watch_fd, .events = POLLIN},
                           {.fd = f->timer_fd, .events = POLLIN}};
    enum store_err err = STORE_OK;
    bool due = true;

    for (;;) {
        enum store_err late = tell_expired(f);
        if (due)
            err = refresh(f, err);
        if (!late)
            arm_timer(f);
        tend_anchor(f, false);
        int ready = poll(fds, 3, wait_ms(f, err ? err : late));
        if (ready < 0 && errno != EINTR) {
            log_system_error("go on watching", "the store", errno);
            return NULL;
        }
        if (ready > 0 && fds[0].revents) {
            tend_anchor(f, true);
            return NULL;
        }
        if (ready > 0 && fds[2].revents)
            drain_timer(f);
        due = ready == 0 || (ready > 0 && fds[1].revents && store_watch_drain(f->store));
    }
}

static void follow_free(struct follow *f)
{
    if (f->stop_fd >= 0)
        close(f->stop_fd);
    if (f->timer_fd >= 0)
        close(f->timer_fd);
    free(f);
}

bool follow_start(struct store *store, struct serve *serve, struct reads *reads, struct kept *kept,
                  int watch_fd, struct follow **ret_follow)
{
    struct follow *f = calloc(1, sizeof *f);
    if (f == NULL) {
        log_system_error("follow", "the store", ENOMEM);
        return false;
    }
    *f = (struct follow){
        .store = store, .serve = serve, .reads = reads, .kept = kept, .watch_fd = watch_fd};
    f->stop_fd = eventfd(0, EFD_CLOEXEC);
    f->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (f->stop_fd < 0 || f->timer_fd < 0 || pthread_create(&f->thread, NULL, run, f) != 0) {
        log_system_error("follow", "the store", errno);
        follow_free(f);
        return false;
    }
    *ret_follow = f;
    return true;
}

void follow_stop(struct follow *f)
{
    uint64_t one = 1;

    if (f == NULL)
        return;
    while (write(f->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(f->thread, NULL);
    follow_free(f);
}
