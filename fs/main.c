/*
 * secretfs: from a command line to a served tree, and to a clean end.
 *
 * Two parts that become two processes: the privileged one unlocks the store and makes the mounts
 * (unlock.c, mount.c), the serving one answers requests (serve.c) and follows commits (follow.c).
 */
#include "follow.h"
#include "log.h"
#include "mount.h"
#include "options.h"
#include "serve.h"
#include "unlock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* The same as secretctl's. */
enum status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_LOCKED = 4,
    STATUS_INTEGRITY = 5
};

static enum status status_of(enum store_err err)
{
    if (err == STORE_OK)
        return STATUS_DONE;
    if (err == STORE_ERR_KEY)
        return STATUS_LOCKED;
    return err == STORE_ERR_INTEGRITY ? STATUS_INTEGRITY : STATUS_FAILED;
}

/* No core, no reading of our memory by others of our uid, as much locked memory as root may have.
 */
static void harden(void)
{
    struct rlimit none = {0, 0};
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    umask(022);
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_MEMLOCK, &all);
    prctl(PR_SET_DUMPABLE, 0);
}

/* The signals that end the daemon, as a descriptor; blocked for all threads, which inherit the
 * mask. */
static int open_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Wait until the session has ended, or a signal says that it should. */
static void wait_for_end(struct mount *mount, const struct serve *serve, int signals)
{
    struct pollfd fds[] = {
        {.fd = serve_ended_fd(serve), .events = POLLIN},
        {.fd = signals, .events = POLLIN},
        {.fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), .events = POLLPRI},
    };

    for (;;) {
        if (poll(fds, 3, -1) < 0 && errno != EINTR) {
            log_system_error("wait for", "the end", errno);
            break;
        }
        if (fds[0].revents || fds[1].revents)
            break;
        if (fds[2].revents && mount->private_fd >= 0 && !mount_attached(mount)) {
            log_line("unmounted; ending as soon as nothing uses '%s' any more", mount->path);
            mount_drop_private(mount);
        }
    }
    if (fds[2].fd >= 0)
        close(fds[2].fd);
}

static enum status serve_until_end(struct store *store, struct mount *mount, int watch_fd,
                                   const struct options *options, int signals)
{
    const struct serve_options serve_options = {.workers = options->workers,
                                                .direct_io = options->direct_io,
                                                .debug = options->debug,
                                                .subdir = options->subdir};
    struct follow *follow = NULL;
    struct serve *serve = NULL;
    enum status status = STATUS_FAILED;

    if (!serve_start(store, mount->device_fd, &serve_options, &serve))
        return STATUS_FAILED;
    close(mount->device_fd);
    mount->device_fd = -1;
    if (mount_attach(mount) && follow_start(store, serve, watch_fd, &follow)) {
        log_line("serving %s at %s", store_path(store), mount->path);
        wait_for_end(mount, serve, signals);
        status = STATUS_DONE;
    }
    mount_detach(mount);
    mount_drop_private(mount);
    follow_stop(follow);
    if (!serve_stop(serve))
        status = STATUS_FAILED;
    return status;
}

static enum status run(const struct options *options, int signals)
{
    struct mount mount = MOUNT_INIT;
    struct store *store = NULL;
    enum status status = STATUS_FAILED;
    int watch_fd = -1;

    enum store_err err = unlock_store(options, &store, &watch_fd);
    if (err)
        return status_of(err);
    if (mount_prepare(&mount, options->mountpoint) && mount_create(&mount, store_path(store)))
        status = serve_until_end(store, &mount, watch_fd, options, signals);
    store_close(store);
    mount_release(&mount);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;

    switch (options_parse(argc, argv, &options)) {
    case OPTIONS_DONE:
        return STATUS_DONE;
    case OPTIONS_BAD:
        return STATUS_USAGE;
    case OPTIONS_RUN:
        break;
    }
    harden();
    int signals = open_signals();
    if (signals < 0) {
        log_system_error("wait for", "signals", errno);
        return STATUS_FAILED;
    }
    enum status status = run(&options, signals);
    close(signals);
    return (int)status;
}
