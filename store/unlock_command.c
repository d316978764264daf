/*
 * A program whose output is a key: which may run, and one run of it.
 *
 * Whoever can write to the file, or to a directory on the way to it, would choose what unlocks the
 * store, and what runs with our rights. The path comes from whoever started this process; it must
 * never come from the store, whose slots anybody may have written.
 */
#include "clock.h"
#include "credential.h"
#include "fault.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OBJECT "the unlock command"
#define KEY_RULE "it must write a key of exactly 32 bytes to its standard output"

_Static_assert(CREDENTIAL_COMMAND_S == 10, "the sentence below says so");

struct run {
    const char *path;
    struct secbuf *output; /* one byte more than a key, which is how too much is noticed */
    int output_fd;         /* -1: it has ended */
    int signal_fd;
    pid_t pid;
    int pid_fd;
    int wait_status;
};

static enum store_err refuse(const char *reason)
{
    return fault(STORE_ERR_KEY, "run", OBJECT, reason);
}

static enum store_err refuse_errno(int sys_errno)
{
    fault_errno(sys_errno, "run", OBJECT);
    return fault_recode(STORE_ERR_KEY);
}

/* ---- Which may run -------------------------------------------------------- */

static bool ours(const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == geteuid();
}

/* In a directory like /tmp others can make files, but not exchange ours. */
static bool directory_safe(const struct stat *st)
{
    return ours(st) && (!(st->st_mode & (S_IWGRP | S_IWOTH)) || st->st_mode & S_ISVTX);
}

/* Every directory above `path`, which has no links in it and is changed meanwhile. */
static enum store_err check_way(char *path)
{
    struct stat st;

    for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (stat(path[0] ? path : "/", &st) != 0)
            return refuse_errno(errno);
        if (!directory_safe(&st))
            return refuse("others can write to a directory on the way to it");
    }
    return STORE_OK;
}

static enum store_err check(const char *path)
{
    char real[PATH_MAX];
    struct stat st;

    if (path[0] != '/')
        return refuse("its path must be absolute");
    if (!realpath(path, real) || stat(real, &st) != 0)
        return refuse_errno(errno);
    if (!S_ISREG(st.st_mode))
        return refuse("it is not a regular file");
    if (!ours(&st))
        return refuse("it belongs neither to root nor to who runs it");
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return refuse("its group or others can write to it");
    return check_way(real);
}

/* ---- Starting ------------------------------------------------------------- */

static int spawn(struct run *run, int output_fd)
{
    char search[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char language[] = "LANG=C.UTF-8";
    char *environment[] = {search, language, NULL};
    char *argv[] = {(char *)run->path, NULL};
    const int fds[] = {output_fd, -1}; /* its standard error is ours */

    return program_spawn(argv, environment, fds, sizeof fds / sizeof fds[0], &run->pid);
}

static enum store_err start(struct run *run)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return refuse_errno(errno);
    /* Out of the way of the program's own descriptors. */
    int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = theirs < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ? errno : 0;
    close(ends[1]);
    run->output_fd = ends[0];
    if (!error)
        error = spawn(run, theirs);
    if (theirs >= 0)
        close(theirs);
    if (error)
        return refuse_errno(error);
    run->pid_fd = pidfd_open(run->pid, 0);
    if (run->pid_fd >= 0)
        return STORE_OK;
    error = errno;
    kill(-run->pid, SIGKILL);
    waitpid(run->pid, NULL, 0);
    return refuse_errno(error);
}

/* ---- Its output and its end ----------------------------------------------- */

/* Take what is there. Returns false where there is nothing now, or ever. */
static bool take(struct run *run)
{
    struct secbuf *output = run->output;
    ssize_t n =
        run->output_fd < 0 || output->len == output->capacity
            ? 0
            : read(run->output_fd, output->data + output->len, output->capacity - output->len);

    if (n > 0) {
        output->len += (size_t)n;
        return true;
    }
    if (run->output_fd >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
        close(run->output_fd);
        run->output_fd = -1;
    }
    return false;
}

/* Until it has ended or must; NULL, or why it must. */
static const char *follow(struct run *run)
{
    int64_t deadline_ms = clock_now_ms() + CREDENTIAL_COMMAND_S * 1000;

    for (;;) {
        struct pollfd fds[] = {{.fd = run->pid_fd, .events = POLLIN},
                               {.fd = run->output_fd, .events = POLLIN},
                               {.fd = run->signal_fd, .events = POLLIN}};
        int64_t left_ms = deadline_ms - clock_now_ms();
        if (left_ms <= 0)
            return "it took longer than 10 s";
        if (poll(fds, sizeof fds / sizeof fds[0], (int)left_ms) <= 0)
            continue;
        if (fds[2].revents)
            return "it was interrupted";
        if (fds[1].revents)
            take(run);
        if (run->output->len > STORE_KEY_BYTES)
            return KEY_RULE;
        if (fds[0].revents)
            return NULL;
    }
}

/* Nothing of its group is left then; its number can't be another's before waitpid(). */
static enum store_err finish(struct run *run)
{
    const char *reason = follow(run);

    kill(-run->pid, SIGKILL);
    while (waitpid(run->pid, &run->wait_status, 0) < 0)
        if (errno != EINTR)
            return refuse_errno(errno);
    if (reason)
        return refuse(reason);
    if (WIFSIGNALED(run->wait_status))
        return refuse("it was ended by a signal");
    if (WEXITSTATUS(run->wait_status) != 0)
        return refuse("it has failed: its exit status is not 0");
    while (take(run))
        ;
    return run->output->len == STORE_KEY_BYTES ? STORE_OK : refuse(KEY_RULE);
}

static void release(struct run *run)
{
    const int fds[] = {run->output_fd, run->signal_fd, run->pid_fd};

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

enum store_err credential_run_command(const char *path, struct secbuf *ret_key)
{
    SECBUF_AUTO struct secbuf output = SECBUF_INIT;
    struct run run = {
        .path = path, .output = &output, .output_fd = -1, .signal_fd = -1, .pid_fd = -1};
    sigset_t before;
    enum store_err err = check(path);

    if (!err)
        err = secbuf_alloc(&output, STORE_KEY_BYTES + 1);
    if (!err)
        err = secbuf_alloc(ret_key, STORE_KEY_BYTES);
    if (!err)
        run.signal_fd = program_hold_signals(&before);
    if (!err && run.signal_fd < 0) {
        err = refuse_errno(errno);
    } else if (!err) {
        err = start(&run);
        if (!err)
            err = finish(&run);
        pthread_sigmask(SIG_SETMASK, &before, NULL); /* what was kept comes now */
    }
    release(&run);
    if (err) {
        secbuf_release(ret_key);
        return err;
    }
    memcpy(ret_key->data, output.data, STORE_KEY_BYTES);
    ret_key->len = STORE_KEY_BYTES;
    return STORE_OK;
}
