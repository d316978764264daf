/*
 * fork(2) and execve(2) of this program under another name, with a few descriptors; the worker gets
 * the key in a message. A fork alone would leave it a copy of all the supervisor has.
 */
#include "supervisor.h"
#include "anchor.h"
#include "clock.h"
#include "log.h"
#include "notifier.h"
#include "oom.h"
#include "sandbox.h"
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
#define LINGER_MS 50         /* threads that take longer to follow the first are stuck */
#define ASK_MS 1000          /* between two questions to the worker */
#define SILENT_MS 5000       /* a worker that says nothing for longer is stuck */
#define NOTIFIER_PAUSE_MS 50 /* between the starts of two notifiers */

#define FIRST_FD 3 /* of those that a child is given */

bool supervisor_init(struct supervisor *s)
{
    s->kept_fd = memfd_create("secretfs-kept", MFD_CLOEXEC);
    s->executable_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t len = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);
    if (s->kept_fd < 0 || s->executable_fd < 0 || len < 0 ||
        ftruncate(s->kept_fd, sizeof(struct kept)) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->resolver_sockets) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->notifier_sockets) != 0) {
        log_system_error("start", WORKER_NAME, errno);
        return false;
    }
    s->kept = mmap(NULL, sizeof *s->kept, PROT_READ | PROT_WRITE, MAP_SHARED, s->kept_fd, 0);
    if (s->kept == MAP_FAILED) {
        s->kept = NULL;
        log_system_error("start", WORKER_NAME, errno);
    }
    return s->kept != NULL;
}

/* None, but that reports of a sanitizer go where those of the supervisor go. */
static char **child_environment(char *ret_environment[4])
{
    size_t used = 0;
#if SANDBOX_SANITIZED
    static const char *const passed[] = {"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS="};

    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < 3 && used < 3; i++)
            if (strncmp(*e, passed[i], strlen(passed[i])) == 0)
                ret_environment[used++] = *e;
#endif
    ret_environment[used] = NULL;
    return ret_environment;
}

/* In a child: put its descriptors in their places, above which nothing is inherited, and become
 * what `name` says. */
static _Noreturn void become(const struct supervisor *s, const char *name, const int *fds,
                             int count)
{
    char *argv[] = {strdup(name), NULL};
    char *environment[4];
    int copies[HANDOFF_END];
    int end = FIRST_FD + count;
    int executable = fcntl(s->executable_fd, F_DUPFD_CLOEXEC, 2 * HANDOFF_END);

    oom_keep_within(OOM_WORKER, OOM_HIGHEST);
    for (int i = 0; i < count; i++)
        copies[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 2 * HANDOFF_END);
    for (int i = 0; i < count; i++) {
        close(FIRST_FD + i);
        if (fds[i] >= 0 && (copies[i] < 0 || dup2(copies[i], FIRST_FD + i) < 0))
            _exit(126);
    }
    if (close_range((unsigned)end, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        fexecve(executable, argv, child_environment(environment));
    _exit(127);
}

bool supervisor_start_worker(struct supervisor *s)
{
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        log_system_error("start", WORKER_NAME, errno);
        return false;
    }
    struct kept_reads *reads = &s->kept->reads;
    if (reads->heads[reads->head % 2].number == 0)
        reads->heads[reads->head % 2] = s->reads.known;
    pid_t pid = fork();
    if (pid == 0) {
        const int fds[] = {
            sockets[1],   s->device_fd,           s->kept_fd,  s->notifier_sockets[0],
            s->anchor_fd, s->resolver_sockets[0], s->reads.fd, s->journal_fd};
        become(s, WORKER_NAME, fds, HANDOFF_END - FIRST_FD);
    }
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
    s->started_ms = clock_now_ms();
    s->serving = s->hung_up = false;
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
static bool collect(struct supervisor *s, int *ret_wait_status)
{
    bool found = false;
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == s->pid) {
            *ret_wait_status = wait_status;
            found = true;
        } else if (pid == s->notifier_pid)
            s->notifier_pid = 0;
        else if (s->lingering > 0) {
            s->lingering--;
            s->resend = true;
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
 * Until then they may even take another request each, which may be the one that the stuck thread
 * waits for: that is why the next worker has requests sent again as long as one lingers.
 */
static bool has_ended(struct supervisor *s, int *ret_wait_status)
{
    if (collect(s, ret_wait_status))
        return true;
    if (s->pid == 0 || !leader_ended(s->pid))
        return false;
    for (int64_t deadline = clock_now_ms() + LINGER_MS; clock_now_ms() < deadline; pause_briefly())
        if (collect(s, ret_wait_status))
            return true;
    s->lingering++;
    *ret_wait_status = SIGKILL; /* as wait(2) would say it */
    return true;
}

/* Of two keys the one that a worker did not begin to serve with is the wrong one. */
static void swap_keys(struct supervisor *s)
{
    struct secbuf key = *s->root_key;
    int anchor_fd = s->anchor_fd;

    if (s->other_key.len == 0)
        return;
    *s->root_key = s->other_key;
    s->other_key = key;
    if (s->other_anchor_fd >= 0) {
        s->anchor_fd = s->other_anchor_fd;
        s->other_anchor_fd = anchor_fd;
    }
}

/* -1: there is none. */
static void replace_other_anchor(struct supervisor *s, int fd)
{
    if (s->other_anchor_fd >= 0)
        close(s->other_anchor_fd);
    s->other_anchor_fd = fd;
}

static void drop_other_key(struct supervisor *s)
{
    secbuf_release(&s->other_key);
    replace_other_anchor(s, -1);
}

bool supervisor_reap(struct supervisor *s, int *ret_wait_status)
{
    if (!has_ended(s, ret_wait_status))
        return false;
    /* Somebody who kills workers is no reason to let readers wait; workers that fail by themselves
     * are. */
    bool killed = WIFSIGNALED(*ret_wait_status) && WTERMSIG(*ret_wait_status) == SIGKILL;
    bool lasted = clock_now_ms() - s->started_ms >= LASTING_MS;
    s->failures = killed || lasted ? 0 : s->failures + 1;
    s->restarts++;
    if (!s->serving)
        swap_keys(s);
    forget_worker(s);
    return true;
}

static void note_serving(struct supervisor *s)
{
    s->serving = true;
    drop_other_key(s);
    s->heard_ms = s->asked_ms = clock_now_ms();
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
    if (ready > 0 && recv(s->socket, &byte, 1, 0) == 1 && byte == HANDOFF_SERVING) {
        note_serving(s);
        return true;
    }
    if (ready <= 0)
        kill(s->pid, SIGKILL);
    while (!has_ended(s, &wait_status))
        pause_briefly();
    forget_worker(s);
    *ret_status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1;
    return false;
}

int supervisor_upgrade(struct supervisor *s)
{
    int old_fd = s->executable_fd;
    int status = 0;
    int new_fd = open(s->executable, O_RDONLY | O_CLOEXEC);

    if (new_fd < 0) {
        int error = errno;
        log_system_error("upgrade to", s->executable, error);
        return error;
    }
    supervisor_stop_worker(s);
    s->executable_fd = new_fd;
    if (supervisor_start_worker(s) && supervisor_wait_serving(s, UPGRADE_MS, &status)) {
        log_line("upgraded to the '%s' of now", s->executable);
        close(old_fd);
        if (s->notifier_pid)
            kill(s->notifier_pid, SIGKILL); /* the next one is the new program's */
        return 0;
    }
    log_error("cannot upgrade to '%s': it does not serve; going on with the one from before",
              s->executable);
    s->executable_fd = old_fd;
    close(new_fd);
    supervisor_start_worker(s);
    return ENOEXEC;
}

int supervisor_begin_rekey(struct supervisor *s, const unsigned char *root_key,
                           const unsigned char *new_key)
{
    const struct anchor_file none = {.fd = -1};
    struct anchor_file anchor = none;

    if (secbuf_reserve(&s->other_key, STORE_KEY_BYTES) != STORE_OK ||
        (s->anchor_in_memory && anchor_in_memory(&none, &anchor) != STORE_OK))
        return ENOMEM;
    /* Where no worker has served since the last one, the present key may still be the other. */
    if (memcmp(s->root_key->data, root_key, STORE_KEY_BYTES) != 0)
        swap_keys(s);
    replace_other_anchor(s, anchor.fd);
    memcpy(s->root_key->data, root_key, STORE_KEY_BYTES);
    memcpy(s->other_key.data, new_key, STORE_KEY_BYTES);
    s->other_key.len = STORE_KEY_BYTES;
    s->rekeying = true;
    supervisor_stop_worker(s);
    return 0;
}

void supervisor_end_rekey(struct supervisor *s, bool committed)
{
    s->rekeying = false;
    if (committed)
        swap_keys(s);
}

bool supervisor_has_worker(const struct supervisor *s)
{
    return s->pid != 0;
}

int supervisor_delay_ms(const struct supervisor *s)
{
    if (s->failures <= 1)
        return 0;
    return s->failures > 8 ? DELAY_MAX_MS : 4 << s->failures;
}

void supervisor_stop_worker(struct supervisor *s)
{
    int64_t deadline = clock_now_ms() + STOP_MS;
    int wait_status;

    if (s->pid == 0)
        return;
    kill(s->pid, SIGTERM);
    while (!has_ended(s, &wait_status)) {
        if (clock_now_ms() > deadline)
            kill(s->pid, SIGKILL);
        pause_briefly();
    }
    forget_worker(s);
}

/* ---- While it serves ----------------------------------------------------- */

/* Take what the worker has said. True if it is well. */
static bool hear(struct supervisor *s)
{
    bool well = false;
    char word;
    ssize_t n;

    while ((n = recv(s->socket, &word, 1, MSG_DONTWAIT)) == 1) {
        if (word == HANDOFF_SERVING)
            note_serving(s);
        well |= word == HANDOFF_WELL;
        s->heard_ms = clock_now_ms();
    }
    s->hung_up = n == 0;
    return well;
}

int supervisor_worker_fd(const struct supervisor *s)
{
    return s->hung_up ? -1 : s->socket;
}

static bool say(const struct supervisor *s, enum handoff_word word)
{
    const char byte = (char)word;
    return send(s->socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static bool ask_worker(struct supervisor *s)
{
    bool well = hear(s);
    int64_t now = clock_now_ms();

    /* Who was stopped or frozen, like the whole machine may have been, can't blame the worker. */
    if (now - s->tended_ms > ASK_MS)
        s->heard_ms = now;
    s->tended_ms = now;
    if (!s->serving)
        return false;
    if (now - s->heard_ms > SILENT_MS) {
        log_warning("the worker does not answer; killing it");
        kill(s->pid, SIGKILL);
        s->heard_ms = now;
    } else if (s->resend || (s->lingering && now - s->resent_ms >= ASK_MS)) {
        s->resend = !say(s, HANDOFF_RESEND);
        s->resent_ms = now;
    } else if (now - s->asked_ms >= ASK_MS) {
        say(s, HANDOFF_WELL);
        s->asked_ms = now;
    }
    return well;
}

static void give_reads_file(struct supervisor *s)
{
    if (s->socket >= 0 && !reads_file_send(&s->reads, s->socket))
        log_system_error("give the worker", "the record of reads", errno);
}

void supervisor_reopen_reads(struct supervisor *s)
{
    if (!s->handoff.audit_none && reads_file_open(&s->reads))
        give_reads_file(s);
}

static void start_notifier(struct supervisor *s)
{
    const int fds[] = {s->notifier_sockets[1], s->private_fd};

    s->notifier_started_ms = clock_now_ms();
    pid_t pid = fork();
    if (pid == 0)
        become(s, NOTIFIER_NAME, fds, NOTIFIER_END - FIRST_FD);
    if (pid < 0)
        log_system_error("start", NOTIFIER_NAME, errno);
    else
        s->notifier_pid = pid;
}

bool supervisor_tend(struct supervisor *s)
{
    if (s->private_fd >= 0 && s->notifier_pid == 0 &&
        clock_now_ms() - s->notifier_started_ms >= NOTIFIER_PAUSE_MS)
        start_notifier(s);
    if (s->serving && reads_file_find(&s->reads, &s->kept->reads))
        give_reads_file(s);
    return s->pid != 0 && ask_worker(s);
}

void supervisor_begin_notifier(struct supervisor *s, int private_fd)
{
    s->private_fd = private_fd;
    s->kept->has_notifier = true;
    start_notifier(s);
}

void supervisor_end_notifier(struct supervisor *s)
{
    s->private_fd = -1;
    s->kept->has_notifier = false;
    if (s->notifier_pid)
        kill(s->notifier_pid, SIGKILL);
}

bool supervisor_wait_ended(struct supervisor *s, int timeout_ms)
{
    int64_t deadline = clock_now_ms() + timeout_ms;
    int wait_status;

    while (collect(s, &wait_status) || waitpid(-1, NULL, WNOHANG) == 0) {
        if (clock_now_ms() >= deadline)
            return false;
        pause_briefly();
    }
    return true;
}

void supervisor_release(struct supervisor *s)
{
    drop_other_key(s);
    for (int i = 0; i < 2; i++) {
        if (s->notifier_sockets[i] >= 0)
            close(s->notifier_sockets[i]);
        if (s->resolver_sockets[i] >= 0)
            close(s->resolver_sockets[i]);
    }
    if (s->kept)
        munmap(s->kept, sizeof *s->kept);
    if (s->kept_fd >= 0)
        close(s->kept_fd);
    if (s->anchor_fd >= 0)
        close(s->anchor_fd);
    reads_file_close(&s->reads);
    if (s->journal_fd >= 0)
        close(s->journal_fd);
    if (s->executable_fd >= 0)
        close(s->executable_fd);
}
