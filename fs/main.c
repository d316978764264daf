/*
 * secretfs, the supervisor: from a command line to a served tree, and to a clean end.
 *
 * It unlocks the store (unlock.c), makes the mounts (mount.c), and keeps two other processes
 * running (supervisor.c), which are this program under other names: the worker (worker.c), the only
 * one to read requests and records, and the notifier (notifier.c).
 */
#include "background.h"
#include "control_server.h"
#include "degraded.h"
#include "log.h"
#include "mount.h"
#include "notifier.h"
#include "oom.h"
#include "options.h"
#include "prepare.h"
#include "ready.h"
#include "recorder.h"
#include "resolver.h"
#include "status.h"
#include "supervisor.h"
#include "unlock.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Without limit for root; others, the root of a user namespace among them, have a hard limit. */
static void raise_locked_memory(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* No core, no reading of our memory by others of our uid, as much locked memory as we may have,
 * and late to go when memory is short. */
static void harden(void)
{
    struct rlimit none = {0, 0};

    umask(022);
    setrlimit(RLIMIT_CORE, &none);
    raise_locked_memory();
    prctl(PR_SET_DUMPABLE, 0);
    oom_keep_within(OOM_LOWEST, OOM_SUPERVISOR);
}

/* The signals that the daemon obeys, as a descriptor; blocked for all threads, which inherit the
 * mask. */
static int open_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

#define START_LOOK_MS 50
#define START_RETRY_MS 1000
#define LINGER_MS 200 /* at the end, for a process that waits for an answer */
#define END_MS 5000   /* and for one that has been given it */

struct daemon {
    struct background *background;
    struct mount mount;
    struct supervisor supervisor;
    struct control_server control;
    struct recorder *recorder; /* NULL: there is no memory for it */
    struct resolver *resolver;
    uint64_t device;                      /* of the public mount; 0 before there is one */
    unsigned char uuid[STORE_UUID_BYTES]; /* the store's */
    int signals;
    pthread_t attaching; /* the thread that shows the tree, */
    int attached_fd;     /* which says here that it is done, */
    bool attached;       /* and how */
    bool serving;        /* the tree has been shown */
    struct degraded_status told;
};

/*
 * Attaching looks the tree up, which waits for a worker, which may die before it answers: so it has
 * a thread of its own, and the supervisor is there to start another worker.
 */
static void *attach(void *arg)
{
    struct daemon *d = arg;
    uint64_t one = 1;

    d->attached = mount_attach(&d->mount);
    while (write(d->attached_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    return NULL;
}

/* Take the next signal, waiting up to `timeout_ms` for it. 0 if there is none. */
static int next_signal(const struct daemon *d, int timeout_ms)
{
    struct pollfd fd = {.fd = d->signals, .events = POLLIN};
    struct signalfd_siginfo info;

    if (poll(&fd, 1, timeout_ms) <= 0 ||
        read(d->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return 0;
    return (int)info.ssi_signo;
}

static bool is_end(int signo)
{
    return signo == SIGTERM || signo == SIGINT;
}

/* Start a worker, after a while; short of processes or memory it is tried again, and requests wait.
 * False if the daemon is told to end meanwhile. */
static bool start_worker(struct daemon *d, int delay_ms)
{
    while (delay_ms == 0 || !is_end(next_signal(d, delay_ms))) {
        if (supervisor_start_worker(&d->supervisor))
            return true;
        delay_ms = START_RETRY_MS;
    }
    return false;
}

/* The worker's end is also the session's, unless it was killed or failed: then another takes its
 * place. */
static bool replace_worker(struct daemon *d, int wait_status, bool *ret_failed)
{
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == WORKER_ENDED)
        return false;
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == WORKER_CANT_RESUME) {
        log_error("the worker died, and this kernel can't send its requests to another; ending");
        *ret_failed = true;
        return false;
    }
    log_warning("the worker died (%s %d); starting another",
                WIFSIGNALED(wait_status) ? "signal" : "exit status",
                WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
    return start_worker(d, supervisor_delay_ms(&d->supervisor));
}

/* False if the daemon is to end. */
static bool upgrade(struct daemon *d, int *ret_error)
{
    *ret_error = EBUSY;
    if (d->supervisor.rekeying)
        return true;
    *ret_error = supervisor_upgrade(&d->supervisor);
    return supervisor_has_worker(&d->supervisor) || start_worker(d, START_RETRY_MS);
}

static struct control_reply reply_of(const struct daemon *d)
{
    const struct supervisor *s = &d->supervisor;
    struct control_reply reply = {.restarts = s->restarts, .generation = s->kept->applied};
    snprintf(reply.mountpoint, sizeof reply.mountpoint, "%s", d->mount.path);
    degraded_tell(s->kept, &reply);
    counts_tell(&s->kept->counts, &reply);
    reads_file_tell(&s->reads, &s->kept->reads, &reply);
    return reply;
}

/* Answer who has read what. Returns the errno to answer with, if that could not be done. */
static int answer_readers(struct daemon *d, struct control_connection *connection)
{
    struct control_reply reply = reply_of(d);
    int file = recorder_file(d->recorder, d->device);

    if (file < 0)
        return errno;
    control_server_reply_file(connection, &reply, file);
    return 0;
}

/* Be ready for a rekey, and wait for its end. */
static void begin_rekey(struct daemon *d, struct control_connection *connection)
{
    struct control_reply reply = reply_of(d);
    struct secbuf *message = &d->control.message;
    const unsigned char *keys = message->data + offsetof(struct control_rekey_request, root_key);

    reply.error = supervisor_begin_rekey(&d->supervisor, keys, keys + STORE_KEY_BYTES);
    secbuf_wipe(message);
    control_server_await_rekey(connection, &reply);
}

/* Its end has come. False if the daemon is to end. */
static bool end_rekey(struct daemon *d)
{
    supervisor_end_rekey(&d->supervisor, control_server_has_committed(&d->control));
    return start_worker(d, 0);
}

/* Answer what has come to the control socket, and what can be by now. False if the daemon is to
 * end. */
static bool answer_requests(struct daemon *d)
{
    struct control_connection *connection;
    enum control_verb verb;
    bool running = true;

    while (running && (connection = control_server_take(&d->control, &verb)) != NULL) {
        int error = EOPNOTSUPP;
        if (verb == CONTROL_UPGRADE)
            running = upgrade(d, &error);
        else if (verb == CONTROL_STATUS)
            error = 0;
        else if (verb == CONTROL_READERS && (error = answer_readers(d, connection)) == 0)
            continue;
        else if (verb == CONTROL_REKEY) {
            begin_rekey(d, connection);
            continue;
        }
        struct control_reply reply = reply_of(d);
        reply.error = error;
        control_server_reply(connection, &reply);
    }
    if (running && d->supervisor.rekeying && !control_server_rekeys(&d->control))
        running = end_rekey(d);
    struct control_reply reply = reply_of(d);
    control_server_confirm(&d->control, &reply);
    return running;
}

/* A signal has come. False if the daemon is to end. */
static bool take_signal(struct daemon *d, bool *ret_failed)
{
    int signo = next_signal(d, 0);
    int wait_status = 0;

    if (is_end(signo))
        return false;
    if (signo == SIGHUP)
        return upgrade(d, &wait_status);
    if (signo == SIGUSR1)
        supervisor_reopen_reads(&d->supervisor);
    return !supervisor_reap(&d->supervisor, &wait_status) ||
           replace_worker(d, wait_status, ret_failed);
}

/* Whether the public mount is gone and the private one isn't yet. */
static bool was_unmounted(const struct daemon *d)
{
    return d->mount.private_fd >= 0 && !mount_attached(&d->mount);
}

/* Until the session has ended, or a signal says that it should. False if it ended badly. */
static bool supervise(struct daemon *d)
{
    struct pollfd fds[] = {
        {.fd = d->signals, .events = POLLIN},
        {.fd = d->attached_fd, .events = POLLIN},
        {.fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), .events = POLLPRI},
        {.fd = d->control.epoll_fd, .events = POLLIN},
        {.events = POLLIN},
    };
    uint64_t done;
    bool failed = false;
    bool running = true;

    while (running && !failed) {
        fds[4].fd = supervisor_worker_fd(&d->supervisor);
        int ready = poll(fds, 5, SUPERVISOR_LOOK_MS);
        if (ready < 0 && errno != EINTR)
            log_system_error("wait for", "the end", errno);
        if (ready < 0) {
            failed = errno != EINTR;
            continue;
        }
        if (fds[0].revents || ready == 0)
            running = take_signal(d, &failed);
        if (fds[1].revents && read(d->attached_fd, &done, sizeof done) == sizeof done) {
            fds[1].fd = -1;
            d->serving = d->attached;
            failed |= !d->attached;
            if (d->serving) {
                background_ready(d->background);
                d->device = mountinfo_device(&d->mount.attached);
                resolver_set_device(d->resolver, d->device);
                log_line("serving %s at %s", d->supervisor.handoff.store, d->mount.path);
                ready_notify("READY=1\nSTATUS=serving");
            }
        }
        if (supervisor_tend(&d->supervisor))
            ready_notify("WATCHDOG=1");
        if (d->serving)
            degraded_notify(&d->told, d->supervisor.kept);
        recorder_wake(d->recorder);
        if (running)
            running = answer_requests(d);
        if (d->serving && (fds[1].revents || fds[2].revents) && was_unmounted(d)) {
            log_line("unmounted; ending as soon as nothing uses '%s' any more", d->mount.path);
            supervisor_end_notifier(&d->supervisor);
            mount_drop_private(&d->mount);
        }
    }
    if (fds[2].fd >= 0)
        close(fds[2].fd);
    return !failed;
}

/* End the other processes, and whatever waits for an answer of theirs. */
static void end_session(struct daemon *d)
{
    struct supervisor *s = &d->supervisor;

    s->kept->reads.ending = true;
    supervisor_end_notifier(s);
    supervisor_stop_worker(s);
    mount_close_device(&d->mount);
    if (!supervisor_wait_ended(s, LINGER_MS) && mount_abort(&d->mount))
        supervisor_wait_ended(s, END_MS);
}

static bool start_resolver(struct daemon *d)
{
    d->resolver = resolver_start(d->supervisor.resolver_sockets[1], d->mount.path);
    if (d->resolver == NULL)
        log_system_error("start", "the resolver of callers", errno);
    return d->resolver != NULL;
}

/* Whether a signal has come that ends the daemon; it stays there. */
static bool end_is_pending(void)
{
    sigset_t set;

    return sigpending(&set) == 0 &&
           (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
}

/* Wait until the first worker serves, which with many secrets takes a while. False, with the exit
 * status, when it ended, or the daemon is to end. */
static bool wait_first_serving(struct daemon *d, int *ret_status)
{
    struct pollfd fd = {.fd = supervisor_worker_fd(&d->supervisor), .events = POLLIN};

    while (poll(&fd, 1, START_LOOK_MS) == 0)
        if (end_is_pending()) {
            bool serves = supervisor_wait_serving(&d->supervisor, 0, ret_status);
            *ret_status = serves ? *ret_status : STATUS_DONE;
            return serves;
        }
    return supervisor_wait_serving(&d->supervisor, -1, ret_status);
}

static enum status serve_until_end(struct daemon *d)
{
    struct supervisor *s = &d->supervisor;
    int status = STATUS_FAILED;

    if (!supervisor_init(s) || !start_resolver(d) || !supervisor_start_worker(s) ||
        !wait_first_serving(d, &status))
        return (enum status)status;
    if (d->mount.private_fd >= 0)
        supervisor_begin_notifier(s, d->mount.private_fd);
    control_server_open(&d->control, s->handoff.store, d->uuid, d->mount.path, s->handoff.uid);
    d->recorder = recorder_start(&s->kept->opens);
    d->attached_fd = eventfd(0, EFD_CLOEXEC);
    if (d->attached_fd >= 0 && pthread_create(&d->attaching, NULL, attach, d) == 0) {
        status = supervise(d) ? STATUS_DONE : STATUS_FAILED;
        ready_notify("STOPPING=1");
        if (d->serving)
            mount_detach(&d->mount);
        end_session(d);
        pthread_join(d->attaching, NULL);
    } else {
        log_system_error("mount at", d->mount.path, errno);
        end_session(d);
    }
    control_server_close(&d->control);
    recorder_stop(d->recorder);
    mount_detach(&d->mount);
    mount_drop_private(&d->mount);
    if (d->attached_fd >= 0)
        close(d->attached_fd);
    return (enum status)status;
}

static enum status run(const struct options *options, int signals, struct background *background)
{
    SECBUF_AUTO struct secbuf root_key = SECBUF_INIT;
    struct daemon d = {.background = background,
                       .mount = MOUNT_INIT,
                       .supervisor = SUPERVISOR_INIT,
                       .control = {.epoll_fd = -1},
                       .signals = signals};
    enum status status = STATUS_FAILED;
    char *store = NULL;

    enum store_err err = secmem_init();
    if (err) {
        log_store_error("start", "secretfs", err);
        return status_of(err);
    }
    secmem_allow_swap(options->allow_swap);
    err = unlock_root_key(options, &root_key, &store, d.uuid);
    if (!err)
        err = prepare_anchor(options, store, d.uuid, &d.supervisor);
    if (err) {
        free(store);
        return status_of(err);
    }
    d.supervisor.root_key = &root_key;
    if (options->background && mount_serves(options->mountpoint, store))
        status = STATUS_DONE; /* which `mount -a` can't see by itself */
    else if (prepare_handoff(options, store, &d.supervisor.handoff) &&
             prepare_reads(options, store, &d.supervisor) &&
             mount_prepare(&d.mount, options->mountpoint) &&
             mount_create(&d.mount, store, options->allow_other)) {
        d.supervisor.device_fd = d.mount.device_fd;
        d.supervisor.handoff.top_is_root = d.mount.ordinary;
        status = serve_until_end(&d);
    }
    resolver_stop(d.resolver);
    supervisor_release(&d.supervisor);
    mount_release(&d.mount);
    free(store);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct background background = BACKGROUND_INIT;

    if (argc == 1 && strcmp(argv[0], WORKER_NAME) == 0)
        return worker_main();
    if (argc == 1 && strcmp(argv[0], NOTIFIER_NAME) == 0)
        return notifier_main();
    log_set_levels(log_is_journal());
    switch (options_parse(argc, argv, &options)) {
    case OPTIONS_DONE:
        return STATUS_DONE;
    case OPTIONS_BAD:
        return STATUS_USAGE;
    case OPTIONS_RUN:
        break;
    }
    harden();
    int status = STATUS_FAILED;
    if (options.background && !background_start(&background, &options.passphrase_fd, &status))
        return status;
    int signals = open_signals();
    if (signals >= 0) {
        status = (int)run(&options, signals, &background);
        close(signals);
    } else {
        log_system_error("wait for", "signals", errno);
    }
    background_end(&background);
    return status;
}
