/*
 * From the handoff to a served session. Everything a worker needs comes from the supervisor or from
 * the store: it may be killed at any moment, and the next one goes on where it stopped.
 */
#include "worker.h"
#include "anchor.h"
#include "audit_journal.h"
#include "callers.h"
#include "changes.h"
#include "clock.h"
#include "degraded.h"
#include "follow.h"
#include "handoff.h"
#include "log.h"
#include "loop.h"
#include "passing.h"
#include "privileges.h"
#include "reads.h"
#include "sandbox.h"
#include "serve.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_NEEDED 128 /* for all but callers, with room to spare */
#define FILES_MAX (FILES_NEEDED + CALLERS_MAX)

static enum store_err open_store(const struct handoff *handoff, const struct secbuf *root_key,
                                 struct store **ret_store, int *ret_watch_fd)
{
    struct store *store = NULL;
    enum store_err err = store_open(handoff->store, STORE_FOLLOW, &store);
    if (!err)
        err = store_watch(store, ret_watch_fd);
    if (!err)
        err = store_unlock_root(store, root_key);
    if (!err) {
        anchor_use(store, &(struct anchor_file){.fd = HANDOFF_ANCHOR, .writable = true}, true);
        err = store_load(store);
    }
    if (err) {
        log_store_error("load the store", handoff->store, err);
        store_close(store);
    } else {
        *ret_store = store;
    }
    return err;
}

/* SIGTERM as a descriptor; what a terminal sends to all of a group is the supervisor's to judge. */
static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_SETMASK, &set, NULL); /* not what the supervisor has blocked for itself */
    sigdelset(&set, SIGINT);
    sigdelset(&set, SIGHUP);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* What a worker has while it serves. */
struct serving {
    struct store *store;
    struct kept *kept;
    struct callers *callers;
    struct reads *reads;
    struct serve *serve;
};

/* The next word of the supervisor; 0 when it has ended. *ret_fd is what comes with it, or -1. */
static char receive_word(int *ret_fd)
{
    char word = 0;
    return passing_receive(HANDOFF_SOCKET, &word, 1, 0, ret_fd) == 1 ? word : 0;
}

/* Obey the supervisor. Where it asks whether the worker is well, no answer says that it isn't.
 * False when the supervisor has ended. */
static bool answer_supervisor(const struct serving *s)
{
    int fd;
    char word = receive_word(&fd);

    if (word == 0)
        return false;
    if (word == HANDOFF_RESEND)
        return serve_resend(s->serve);
    if (word == HANDOFF_RECORD) {
        reads_use(s->reads, fd);
        return true;
    }
    return loop_is_stuck(s->kept, clock_now_ms()) ||
           send(HANDOFF_SOCKET, &word, 1, MSG_NOSIGNAL) == 1;
}

static void wait_for_end(const struct serving *s, int signals)
{
    const struct serve *serve = s->serve;

    struct pollfd fds[] = {
        {.fd = serve_ended_fd(serve), .events = POLLIN},
        {.fd = signals, .events = POLLIN},
        {.fd = HANDOFF_SOCKET, .events = POLLIN},
    };

    for (;;) {
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents || fds[1].revents || (fds[2].revents && !answer_supervisor(s)))
            break;
    }
    if (fds[0].revents || s->kept->reads.ending)
        reads_tell(s->reads, AUDIT_UNMOUNT, NULL);
}

/* What is on record of a worker's start. */
static void tell_start(const struct serving *s, const struct handoff *handoff, bool first)
{
    reads_tell(s->reads, first ? AUDIT_MOUNT : AUDIT_RESTART,
               handoff->subdir[0] ? handoff->subdir : NULL);
}

static int serve_store(struct serving *s, int watch_fd, const struct handoff *handoff, int signals)
{
    const struct serve_options options = {.workers = handoff->workers,
                                          .notifier = HANDOFF_NOTIFIER,
                                          .reads = s->reads,
                                          .callers = s->callers,
                                          .top_is_root = handoff->top_is_root,
                                          .direct_io = handoff->direct_io,
                                          .no_open = handoff->audit_none,
                                          .debug = handoff->debug,
                                          .subdir = handoff->subdir[0] ? handoff->subdir : NULL};
    const char serving = HANDOFF_SERVING;
    struct kept *kept = s->kept;
    struct follow *follow = NULL;
    bool first = kept->init_bytes == 0;
    int status = STATUS_FAILED;

    /* The anchor says the same, but may be a second behind what a former worker has shown. */
    if (store_generation(s->store) < kept->applied) {
        log_error("cannot go on serving '%s': an older state was put in its place", handoff->store);
        return STATUS_INTEGRITY;
    }
    if (first && handoff->audit_none && store_has_rules(s->store)) {
        log_error("cannot serve '%s' with audit=none: it has rules for units or executables, by "
                  "which each open is judged",
                  handoff->store);
        return STATUS_FAILED;
    }
    if (kept->applied == 0) {
        kept->shown = store_next_id(s->store);
        kept->applied = store_generation(s->store);
    }
    store_hold_names(s->store, kept->shown);
    switch (serve_start(s->store, HANDOFF_DEVICE, kept, &options, &s->serve)) {
    case SERVE_FAILED:
        return STATUS_FAILED;
    case SERVE_CANT_RESUME:
        return WORKER_CANT_RESUME;
    case SERVE_STARTED:
        break;
    }
    close(HANDOFF_DEVICE);
    /* The supervisor waits for this to be the first word. */
    if (send(HANDOFF_SOCKET, &serving, 1, MSG_NOSIGNAL) == 1 &&
        follow_start(s->store, s->serve, s->reads, kept, watch_fd, &follow)) {
        tell_start(s, handoff, first);
        wait_for_end(s, signals);
        status = WORKER_ENDED;
    }
    follow_stop(follow);
    return serve_stop(s->serve) ? status : STATUS_FAILED;
}

/* NULL with errno; also for the memory of a supervisor that is of another version than we are. */
static struct kept *map_kept(void)
{
    struct stat st;

    if (fstat(HANDOFF_KEPT, &st) != 0)
        return NULL;
    if (st.st_size != sizeof(struct kept)) {
        errno = EPROTO;
        return NULL;
    }
    void *kept =
        mmap(NULL, sizeof(struct kept), PROT_READ | PROT_WRITE, MAP_SHARED, HANDOFF_KEPT, 0);
    return kept == MAP_FAILED ? NULL : kept;
}

/* With the record of reads that goes with it. */
static int serve_recorded(struct serving *s, int watch_fd, const struct handoff *handoff,
                          int signals)
{
    struct audit_journal *journal = NULL;
    bool copies = handoff->audit_journal != AUDIT_JOURNAL_NONE;

    if (copies)
        journal = audit_journal_new((enum audit_journal_kind)handoff->audit_journal,
                                    HANDOFF_JOURNAL, "secretfs", handoff->store);
    if (copies && journal == NULL) {
        log_system_error("send to", "the journal", ENOMEM);
        return STATUS_FAILED;
    }
    const struct reads_options options = {.none = handoff->audit_none,
                                          .sync = handoff->audit_sync,
                                          .optional = handoff->audit_optional,
                                          .journal = journal};
    int fd = fcntl(HANDOFF_AUDIT, F_GETFD) < 0 ? -1 : HANDOFF_AUDIT;
    s->reads = reads_start(s->store, fd, &s->kept->reads, s->callers, &options);
    int status = s->reads ? serve_store(s, watch_fd, handoff, signals) : STATUS_FAILED;
    reads_stop(s->reads);
    audit_journal_free(journal);
    return status;
}

/* Wipes the root key as soon as the store has its subkeys. */
static int run(const struct handoff *handoff, struct secbuf *root_key, int signals, unsigned files)
{
    struct serving s = {.kept = map_kept(), .callers = callers_new(HANDOFF_RESOLVER, files)};
    int watch_fd = -1;

    if (s.kept == NULL || s.callers == NULL) {
        log_system_error("start", WORKER_NAME, errno);
        return STATUS_FAILED;
    }
    close(HANDOFF_KEPT);
    enum store_err err = open_store(handoff, root_key, &s.store, &watch_fd);
    if (err)
        degraded_note(s.kept, err);
    secbuf_release(root_key);
    int status = err ? (int)status_of(err) : serve_recorded(&s, watch_fd, handoff, signals);
    callers_free(s.callers);
    store_close(s.store);
    munmap(s.kept, sizeof *s.kept);
    return status;
}

/* Have as many descriptors as there is use for, if the hard limit allows. Returns how many of them
 * callers may have. */
static unsigned raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < FILES_MAX) {
        limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0)
            return 0;
    }
    if (limit.rlim_cur >= FILES_MAX)
        return CALLERS_MAX;
    return limit.rlim_cur > FILES_NEEDED ? (unsigned)limit.rlim_cur - FILES_NEEDED : 0;
}

int worker_main(void)
{
    SECBUF_AUTO struct secbuf root_key = SECBUF_INIT;
    struct handoff handoff;

    prctl(PR_SET_NAME, WORKER_NAME);
    prctl(PR_SET_DUMPABLE, 0); /* before the key comes; and again, as changing the user undoes it */
    unsigned files = raise_files();
    int signals = open_signals();
    if (secmem_init() != STORE_OK || signals < 0) {
        log_system_error("start", WORKER_NAME, errno);
        return STATUS_FAILED;
    }
    secmem_allow_swap(true); /* until the handoff says otherwise */
    if (!handoff_receive(HANDOFF_SOCKET, &handoff, &root_key)) {
        log_error("%s is started by secretfs, not by hand", WORKER_NAME);
        return STATUS_FAILED;
    }
    log_set_levels(handoff.log_levels);
    secmem_allow_swap(handoff.allow_swap);
    if (!privileges_drop(handoff.uid, handoff.gid, 0) || !sandbox_enter(handoff.store)) {
        log_system_error("give up the privileges of", WORKER_NAME, errno);
        return STATUS_FAILED;
    }
    return run(&handoff, &root_key, signals, files);
}
