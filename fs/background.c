/*
 * fork(2) without an exec, so before everything else. The pipe does not block those who write to
 * it: where syslog takes nothing, lines are lost and requests are still answered.
 */
#include "background.h"
#include "clock.h"
#include "log.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define END_SECONDS 2    /* for syslog to take the last lines */
#define READS_AT_ONCE 64 /* more than a pipe holds; then orders are looked at */

enum order { ORDER_QUIET = 'q', ORDER_END = 'e' };

struct lines {
    char text[4096];
    size_t used;
    struct log_limit limit;
};

/* ---- The thread that passes lines on --------------------------------------- */

static void to_syslog(struct lines *lines, int level, const char *text)
{
    unsigned dropped = 0;

    if (!log_limit_pass(&lines->limit, &dropped))
        return;
    if (dropped > 0)
        syslog(LOG_WARNING, "%u lines were left out here", dropped);
    syslog(level, "%s", text);
}

/* A line of log.c has its level in front; others come from libraries. */
static void pass_line(const struct background *b, struct lines *lines, const char *line)
{
    bool ours = line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>';
    const char *text = ours ? line + 3 : line;

    if (b->stderr_fd < 0)
        to_syslog(lines, ours ? line[1] - '0' : LOG_WARNING, text);
    else if (b->levels)
        dprintf(b->stderr_fd, "%s\n", line);
    else
        dprintf(b->stderr_fd, "secretfs: %s\n", text);
}

/* Read once; the last line may be incomplete, and stays. False if nothing was there. */
static bool pass_lines(const struct background *b, struct lines *lines)
{
    size_t room = sizeof lines->text - 1 - lines->used;
    ssize_t n = read(b->lines_fd, lines->text + lines->used, room);
    char *line = lines->text;
    char *end;

    if (n <= 0)
        return false;
    lines->used += (size_t)n;
    lines->text[lines->used] = '\0';
    while ((end = memchr(line, '\n', lines->used - (size_t)(line - lines->text))) != NULL) {
        *end = '\0';
        pass_line(b, lines, line);
        line = end + 1;
    }
    lines->used -= (size_t)(line - lines->text);
    memmove(lines->text, line, lines->used);
    if (lines->used == sizeof lines->text - 1) {
        pass_line(b, lines, lines->text);
        lines->used = 0;
    }
    return true;
}

static void be_quiet(struct background *b)
{
    openlog("secretfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    close(b->stderr_fd);
    b->stderr_fd = -1;
}

static void *pass_on(void *arg)
{
    struct background *b = arg;
    struct lines lines = {0};
    struct pollfd fds[] = {
        {.fd = b->orders_fd, .events = POLLIN},
        {.fd = b->lines_fd, .events = POLLIN},
    };
    char order = 0;

    while (order != ORDER_END) {
        if (poll(fds, 2, -1) < 0 || (fds[0].revents && read(b->orders_fd, &order, 1) != 1))
            continue;
        for (int i = 0; i < READS_AT_ONCE && pass_lines(b, &lines); i++)
            ;
        if (order == ORDER_QUIET && b->stderr_fd >= 0) {
            be_quiet(b);
            sem_post(&b->quiet);
        }
    }
    return NULL;
}

/* ---- The two processes ------------------------------------------------------ */

static int wait_for_daemon(pid_t pid, int status_fd)
{
    int wait_status = 0;
    char byte;
    ssize_t n;

    do
        n = read(status_fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return STATUS_DONE;
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(wait_status))
        return WEXITSTATUS(wait_status);
    log_error("cannot serve: the daemon was killed by signal %d", WTERMSIG(wait_status));
    return STATUS_FAILED;
}

/* Where a standard descriptor is closed, the next file would be taken for it. */
static bool fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

static bool redirect(struct background *b, int *passphrase_fd)
{
    int lines[2];
    int orders[2];

    if (*passphrase_fd >= 0 && *passphrase_fd <= STDERR_FILENO)
        *passphrase_fd = fcntl(*passphrase_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || pipe2(lines, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    b->lines_fd = lines[0];
    if (pipe2(orders, O_CLOEXEC) != 0)
        return false;
    b->orders_fd = orders[0];
    b->control_fd = orders[1];
    b->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    bool done = b->stderr_fd >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
                dup2(null, STDOUT_FILENO) >= 0 && dup2(lines[1], STDERR_FILENO) >= 0;
    close(null);
    close(lines[1]);
    return done;
}

/* Signals are the supervisor's, which takes them as a descriptor. */
static bool start_thread(struct background *b)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started =
        sem_init(&b->quiet, 0, 0) == 0 && pthread_create(&b->thread, NULL, pass_on, b) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

bool background_start(struct background *b, int *passphrase_fd, int *ret_status)
{
    int status[2];
    pid_t pid = -1;

    *ret_status = STATUS_FAILED;
    if (!fill_standard_descriptors() || pipe2(status, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
        log_system_error("go to", "the background", errno);
        return false;
    }
    if (pid > 0) {
        close(status[1]);
        *ret_status = wait_for_daemon(pid, status[0]);
        close(status[0]);
        return false;
    }
    close(status[0]);
    b->status_fd = status[1];
    b->levels = log_has_levels();
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody waits any more */
    prctl(PR_SET_NAME, "secretfs");
    setsid();
    if (!redirect(b, passphrase_fd) || !start_thread(b)) {
        log_system_error("go to", "the background", errno);
        _exit(STATUS_FAILED);
    }
    log_set_levels(true);
    return true;
}

static void give_order(const struct background *b, char order)
{
    while (write(b->control_fd, &order, 1) < 0 && errno == EINTR)
        ;
}

void background_ready(struct background *b)
{
    const char served = 0;

    if (b->control_fd < 0)
        return;
    give_order(b, ORDER_QUIET);
    while (sem_wait(&b->quiet) != 0 && errno == EINTR)
        ;
    prctl(PR_SET_PDEATHSIG, 0);
    if (chdir("/") != 0)
        log_system_error("leave the directory for", "/", errno);
    while (write(b->status_fd, &served, 1) < 0 && errno == EINTR)
        ;
    close(b->status_fd);
}

void background_end(struct background *b)
{
    if (b->control_fd < 0)
        return;
    give_order(b, ORDER_END);
    struct timespec deadline = clock_after_ms(CLOCK_REALTIME, END_SECONDS * 1000);
    if (pthread_timedjoin_np(b->thread, NULL, &deadline) != 0)
        return; /* the thread uses the rest */
    close(b->lines_fd);
    close(b->orders_fd);
    close(b->control_fd);
    sem_destroy(&b->quiet);
    b->control_fd = -1;
}
