/*
 * Both sides of the notifier's socket. See notifier.h.
 *
 * The process trusts no worker: paths are resolved below the private mount, and what it resolves
 * there leads nowhere else.
 */
#include "notifier.h"
#include "clock.h"
#include "log.h"
#include "mount.h"
#include "privileges.h"
#include "sandbox.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ASK_AGAIN_MS 100

/* What it takes to rename in directories of other owners. */
#define RENAMING (1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER)

/* ---- The worker's side --------------------------------------------------- */

/* Take reports until the one for `order` comes or none is left. True if it has come. */
static bool take_report(int socket, const struct notifier_order *order, int *ret_error)
{
    struct notifier_report report;

    while (recv(socket, &report, sizeof report, MSG_DONTWAIT) == (ssize_t)sizeof report) {
        if (report.serial == order->serial) {
            *ret_error = report.error;
            return true;
        }
    }
    return false;
}

/* A number that no order had before, of this worker or of former ones. */
static uint64_t next_serial(void)
{
    return (uint64_t)clock_ns(CLOCK_MONOTONIC);
}

static bool has_from(uint32_t act)
{
    return act == NOTIFIER_MOVE || act == NOTIFIER_TAKE;
}

static size_t size_of(const struct notifier_order *order)
{
    return has_from(order->act) ? offsetof(struct notifier_order, from) + strlen(order->from) + 1
                                : offsetof(struct notifier_order, path) + strlen(order->path) + 1;
}

int notifier_ask(int socket, int stop_fd, struct notifier_order *order, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = socket, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
    size_t bytes = size_of(order);
    int64_t deadline = clock_now_ms() + timeout_ms;
    int error = 0;

    order->serial = next_serial();
    while (clock_now_ms() < deadline) {
        int64_t again = clock_now_ms() + ASK_AGAIN_MS;
        /* A full socket has the order already, many times. */
        if (send(socket, order, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            return errno;
        for (int64_t left; (left = again - clock_now_ms()) > 0;) {
            if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
                return errno;
            if (fds[1].revents)
                return ECANCELED;
            if (take_report(socket, order, &error))
                return error;
        }
    }
    return ETIMEDOUT;
}

/* ---- The process --------------------------------------------------------- */

/* Open what is below `directory`, and nothing else. */
static int open_below(int directory, const char *path, int flags)
{
    const struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                            RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

/* The directory of a path below tree/, whose last name is *ret_name. One name after the other, as a
 * path may be longer than what one call takes. */
static int open_parent(const char *path, const char **ret_name)
{
    char name[STORE_NAME_MAX + 1];
    const char *slash;
    int directory = open_below(NOTIFIER_MOUNT, MOUNT_TREE, O_PATH);

    while (directory >= 0 && (slash = strchr(path, '/')) != NULL) {
        snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
        int next = open_below(directory, name, O_PATH);
        int error = errno;
        close(directory);
        errno = error;
        directory = next;
        path = slash + 1;
    }
    *ret_name = path;
    return directory;
}

/*
 * A directory that the kernel knows under another name is ESTALE to a rename, whose lock it would
 * need to move it below stage/. It is moved there by being looked up before.
 */
static int show(const char *staged, int directory, const char *name)
{
    int failed = renameat(NOTIFIER_MOUNT, staged, directory, name);

    if (failed && errno == ESTALE) {
        int moved = open_below(NOTIFIER_MOUNT, staged, O_PATH);
        failed = renameat(NOTIFIER_MOUNT, staged, directory, name);
        int error = errno;
        if (moved >= 0)
            close(moved);
        errno = error;
    }
    return failed;
}

/*
 * The inode's watchers get IN_OPEN, IN_MODIFY and IN_CLOSE_WRITE. By fallocate(2) rather than
 * write(2), as that touches no cached page, and no size, were it that of an empty file.
 */
static int touch(uint64_t id)
{
    char path[sizeof MOUNT_INODE + 24];

    snprintf(path, sizeof path, MOUNT_INODE "/%" PRIu64, id);
    int file = open_below(NOTIFIER_MOUNT, path, O_WRONLY);
    if (file < 0)
        return errno;
    int error = fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 1) == 0 ? 0 : errno;
    close(file);
    return error;
}

/* Returns 0 or an errno. */
static int change_name(const struct notifier_order *order)
{
    char staged[sizeof MOUNT_STAGE + 24];
    const char *name;
    int failed = -1;
    int directory = open_parent(order->path, &name);

    if (directory < 0)
        return errno;
    errno = EINVAL;
    if (order->act == NOTIFIER_SHOW) {
        snprintf(staged, sizeof staged, MOUNT_STAGE "/%" PRIu64, order->id);
        failed = show(staged, directory, name);
    } else if (order->act == NOTIFIER_UNLINK) {
        failed = unlinkat(directory, name, 0);
    }
    int error = failed ? errno : 0;
    close(directory);
    return error;
}

/* Returns 0 or an errno. */
static int move(const struct notifier_order *order)
{
    const char *old_name;
    const char *name;
    int from = open_parent(order->from, &old_name);
    int to = from < 0 ? -1 : open_parent(order->path, &name);
    int error = to >= 0 && renameat(from, old_name, to, name) == 0 ? 0 : errno;

    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return error;
}

/* Look a directory up in stage/: the kernel moves it there, and learns its link count, which is 0
 * if it was removed. */
static void look_up_staged(uint64_t id)
{
    char staged[sizeof MOUNT_STAGE + 24];

    snprintf(staged, sizeof staged, MOUNT_STAGE "/%" PRIu64, id);
    int directory = open_below(NOTIFIER_MOUNT, staged, O_PATH);
    if (directory >= 0)
        close(directory);
}

/* Returns 0 or an errno. */
static int take(const struct notifier_order *order)
{
    char taken[sizeof MOUNT_TAKEN + 24];
    const char *name;
    int from = open_parent(order->from, &name);

    if (from < 0)
        return errno;
    snprintf(taken, sizeof taken, MOUNT_TAKEN "%" PRIu64, order->id);
    int error = renameat(from, name, NOTIFIER_MOUNT, taken) == 0 ? 0 : errno;
    close(from);
    if (error == 0)
        look_up_staged(order->id);
    return error;
}

/* Returns 0 or an errno. */
static int carry_out(const struct notifier_order *order)
{
    switch (order->act) {
    case NOTIFIER_TOUCH:
        return touch(order->id);
    case NOTIFIER_MOVE:
        return move(order);
    case NOTIFIER_TAKE:
        return take(order);
    default:
        return change_name(order);
    }
}

/* Take an order. False when the socket is closed or broken. */
static bool take_order(struct notifier_order *ret_order)
{
    const size_t head = offsetof(struct notifier_order, path);
    ssize_t n;

    do
        n = recv(NOTIFIER_SOCKET, ret_order, sizeof *ret_order, 0);
    while (n < 0 && errno == EINTR);
    if (n <= (ssize_t)head)
        return false;
    ((char *)ret_order)[n - 1] = '\0';
    ret_order->path[STORE_PATH_MAX - 1] = '\0';
    return !has_from(ret_order->act) || n > (ssize_t)offsetof(struct notifier_order, from);
}

int notifier_main(void)
{
    struct notifier_order order;

    prctl(PR_SET_NAME, NOTIFIER_NAME);
    if (!privileges_drop(getuid(), getgid(), RENAMING) || !sandbox_enter_notifier()) {
        log_system_error("give up the privileges of", NOTIFIER_NAME, errno);
        return STATUS_FAILED;
    }
    while (take_order(&order)) {
        struct notifier_report report = {order.serial, carry_out(&order)};
        send(NOTIFIER_SOCKET, &report, sizeof report, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return STATUS_FAILED;
}
