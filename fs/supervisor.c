/*
 * fork(2) and execve(2) of this program under the worker's name, with three descriptors and the key
 * in a message. A fork alone would leave the worker a copy of all the supervisor has.
 */
#include "supervisor.h"
#include "log.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LASTING_MS 1000 /* a worker that lived this long was no failure */
#define DELAY_MAX_MS 1000
#define STOP_MS 5000
#define UPGRADE_MS 5000
#define LINGER_MS 50 /* threads that take longer to follow the first are stuck */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool supervisor_init(struct supervisor *s)
{
    s->kept_fd = memfd_create("secretfs-kept", MFD_CLOEXEC);
    s->executable_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t len = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);
    if (s->kept_fd < 0 || s->executable_fd < 0 || len < 0 ||
        ftruncate(s->kept_fd, sizeof(struct kept)) != 0) {
        log_system_error("start", WORKER_NAME, errno);
        return false;
    }
    return true;
}

/* Put the descriptors in their places, above which nothing is inherited, and become the worker. */
static _Noreturn void become_worker(const struct supervisor *s, int socket)
{
    const int wanted[] = {socket, s->device_fd, s->kept_fd};
    char name[] = WORKER_NAME;
    char *argv[] = {name, NULL};
    char *environment[] = {NULL, NULL, NULL};
    int copies[HANDOFF_END - HANDOFF_SOCKET];
    int executable = fcntl(s->executable_fd, F_DUPFD_CLOEXEC, 2 * HANDOFF_END);
    size_t used = 0;

    /* Reports of a sanitizer go where those of the supervisor go. */
    for (char **e = environ; *e; e++)
        if (used < 2 &&
            (strncmp(*e, "ASAN_OPTIONS=", 13) == 0 || strncmp(*e, "UBSAN_OPTIONS=", 14) == 0))
            environment[used++] = *e;
    for (int i = 0; i < HANDOFF_END - HANDOFF_SOCKET; i++)
        copies[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, 2 * HANDOFF_END);
    for (int i = 0; i < HANDOFF_END - HANDOFF_SOCKET; i++)
        if (copies[i] < 0 || dup2(copies[i], HANDOFF_SOCKET + i) < 0)
            _exit(126);
    if (close_range(HANDOFF_END, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        fexecve(executable, argv, environment);
    _exit(127);
}

bool supervisor_start_worker(struct supervisor *s)
{
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        log_system_error("start", WORKER_NAME, errno);
        return false;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_worker(s, sockets[1]);
    close(sockets[1]);
    if (pid < 0 || !handoff_send(sockets[0], &s->handoff, s->root_key)) {
        log_system_error("start", WORKER_NAME, errno);
        close(sockets[0]);
        if (pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        return false;
    }
    s->socket = sockets[0];
    s->pid = pid;
    s->started_ms = now_ms();
    return true;
}

static void forget_worker(struct supervisor *s)
{
    if (s->socket >= 0)
        close(s->socket);
    s->socket = -1;
    s->pid = 0;
}

/* Whether the worker's first thread has ended: a process is a zombie to wait(2) only when all have.
 */
static bool leader_ended(pid_t pid)
{
    char path[64];
    char line[256];

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    bool read = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    const char *state = read ? strrchr(line, ')') : NULL;
    return state && state[1] == ' ' && state[2] == 'Z';
}

/* Collect every child that is gone. True if the worker is among them. */
static bool collect(const struct supervisor *s, int *ret_wait_status)
{
    bool found = false;
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == s->pid) {
            *ret_wait_status = wait_status;
            found = true;
        }
    }
    return found;
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
}

/*
 * Whether the worker has ended, and how. A killed one may leave a thread that waits in the kernel,
 * telling it of a change, for the lock of a directory; the lock is held by a lookup that waits for
 * an answer, which only the next worker can give. So it counts as ended with its first thread,
 * unless the others follow at once, as they do at a clean end; it is collected when they have gone.
 */
static bool has_ended(const struct supervisor *s, int *ret_wait_status)
{
    if (collect(s, ret_wait_status))
        return true;
    if (s->pid == 0 || !leader_ended(s->pid))
        return false;
    for (int64_t deadline = now_ms() + LINGER_MS; now_ms() < deadline; pause_briefly())
        if (collect(s, ret_wait_status))
            return true;
    *ret_wait_status = SIGKILL; /* as wait(2) would say it */
    return true;
}

bool supervisor_reap(struct supervisor *s, int *ret_wait_status)
{
    if (!has_ended(s, ret_wait_status))
        return false;
    /* Somebody who kills workers is no reason to let readers wait; workers that fail by themselves
     * are. */
    bool killed = WIFSIGNALED(*ret_wait_status) && WTERMSIG(*ret_wait_status) == SIGKILL;
    bool lasted = now_ms() - s->started_ms >= LASTING_MS;
    s->failures = killed || lasted ? 0 : s->failures + 1;
    forget_worker(s);
    return true;
}

bool supervisor_wait_serving(struct supervisor *s, int timeout_ms, int *ret_status)
{
    struct pollfd fd = {.fd = s->socket, .events = POLLIN};
    char byte = 0;
    int wait_status = 0;
    int ready;

    do
        ready = poll(&fd, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready > 0 && recv(s->socket, &byte, 1, 0) == 1 && byte == HANDOFF_SERVING)
        return true;
    if (ready <= 0)
        kill(s->pid, SIGKILL);
    while (!has_ended(s, &wait_status))
        pause_briefly();
    forget_worker(s);
    *ret_status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1;
    return false;
}

bool supervisor_upgrade(struct supervisor *s)
{
    int old_fd = s->executable_fd;
    int status = 0;
    int new_fd = open(s->executable, O_RDONLY | O_CLOEXEC);

    if (new_fd < 0) {
        log_system_error("upgrade to", s->executable, errno);
        return true;
    }
    supervisor_stop_worker(s);
    s->executable_fd = new_fd;
    if (supervisor_start_worker(s) && supervisor_wait_serving(s, UPGRADE_MS, &status)) {
        log_line("upgraded to the '%s' of now", s->executable);
        close(old_fd);
        return true;
    }
    log_line("cannot upgrade to '%s': it does not serve; going on with the one from before",
             s->executable);
    s->executable_fd = old_fd;
    close(new_fd);
    return supervisor_start_worker(s);
}

int supervisor_delay_ms(const struct supervisor *s)
{
    if (s->failures <= 1)
        return 0;
    return s->failures > 8 ? DELAY_MAX_MS : 4 << s->failures;
}

void supervisor_stop_worker(struct supervisor *s)
{
    int64_t deadline = now_ms() + STOP_MS;
    int wait_status;

    if (s->pid == 0)
        return;
    kill(s->pid, SIGTERM);
    while (!has_ended(s, &wait_status)) {
        if (now_ms() > deadline)
            kill(s->pid, SIGKILL);
        pause_briefly();
    }
    forget_worker(s);
}

void supervisor_release(struct supervisor *s)
{
    if (s->kept_fd >= 0)
        close(s->kept_fd);
    if (s->executable_fd >= 0)
        close(s->executable_fd);
}
