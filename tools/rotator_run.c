/*
 * One run of a rotator: a loop over its output, its end and its time.
 *
 * Values go through pipes, which are in the kernel's memory and never swapped, unlike a memfd. Each
 * is written whole before the rotator starts: it reads all of it or, after our death too, nothing
 * less. What it prints may have values in it, so it is kept as one until it is masked.
 */
#include "rotator.h"

#include "auto.h"
#include "clock.h"
#include "mask.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define FIRST_FREE_FD 10 /* ours are there, out of the way of the rotator's */

#define CHUNK 4096
#define PIPE_READS (STORE_VALUE_MAX / CHUNK + 1) /* what a pipe can hold at an end, and more */

#define AGAIN "put it right and rotate again, or give it up with 'secretctl rotate --drop'"

/* A pipe of the rotator's that is read here. */
struct sink {
    int fd; /* -1: it has ended */
    struct secbuf *to;
    size_t max;
    bool over; /* there was more */
};

enum ending { RUNNING, ENDED, TIMED_OUT, TOO_LARGE, INTERRUPTED };

struct run {
    const struct task *task;
    const struct rotator_step *step;
    int old_fd; /* the rotator's ends of the pipes */
    int new_fd;
    int output_fd;
    struct sink output;
    struct sink value; /* only where it makes one */
    struct secbuf chunk;
    pid_t pid;
    int pid_fd;
    int signal_fd;
    int wait_status;
    enum ending ending;
};

/* ---- Pipes ---------------------------------------------------------------- */

/* Both ends out of the way; the one that is ours never blocks. */
static bool make_pipe(int *ret_ours, int *ret_theirs, bool we_read)
{
    int ends[2];
    int high[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        high[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        close(ends[i]);
    }
    *ret_ours = high[we_read ? 0 : 1];
    *ret_theirs = high[we_read ? 1 : 0];
    return high[0] >= 0 && high[1] >= 0 && fcntl(*ret_ours, F_SETFL, O_NONBLOCK) == 0;
}

/* A pipe that holds `value` and ends behind it. */
static bool fill_pipe(const struct secbuf *value, int *ret_fd)
{
    AUTO_CLOSE int ours = -1;

    if (!make_pipe(&ours, ret_fd, false))
        return false;
    if (value->len > (size_t)fcntl(ours, F_GETPIPE_SZ) &&
        fcntl(ours, F_SETPIPE_SZ, (int)value->len) < 0)
        return false;
    return value->len == 0 || write(ours, value->data, value->len) == (ssize_t)value->len;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Take what is there, up to CHUNK bytes. Returns false where there is nothing now, or ever. */
static bool take(struct run *run, struct sink *sink)
{
    ssize_t n = sink->fd < 0 ? 0 : read(sink->fd, run->chunk.data, CHUNK);
    size_t fits = sink->max - sink->to->len;

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            close_fd(&sink->fd);
        return false;
    }
    if ((size_t)n > fits)
        sink->over = true;
    else
        fits = (size_t)n;
    memcpy(sink->to->data + sink->to->len, run->chunk.data, fits);
    sink->to->len += fits;
    secbuf_wipe(&run->chunk);
    return true;
}

/* What is left when the rotator is dead. Others may still write: what escaped its group. */
static void take_rest(struct run *run, struct sink *sink)
{
    for (int i = 0; i < PIPE_READS && take(run, sink); i++)
        ;
    close_fd(&sink->fd);
}

static enum status prepare(struct run *run, struct secbuf *output, struct secbuf *ret_value)
{
    const struct rotator_step *step = run->step;
    enum store_err err = secbuf_alloc(output, ROTATOR_OUTPUT_MAX);
    bool made;

    if (err == STORE_OK)
        err = secbuf_alloc(&run->chunk, CHUNK);
    if (err == STORE_OK && !step->new_value)
        err = secbuf_alloc(ret_value, STORE_VALUE_MAX);
    if (err != STORE_OK)
        return fail_code(run->task, err);
    run->output = (struct sink){.fd = -1, .to = output, .max = ROTATOR_OUTPUT_MAX};
    run->value = (struct sink){.fd = -1, .to = ret_value, .max = STORE_VALUE_MAX};
    made = make_pipe(&run->output.fd, &run->output_fd, true) &&
           fill_pipe(step->old_value, &run->old_fd) &&
           (step->new_value ? fill_pipe(step->new_value, &run->new_fd)
                            : make_pipe(&run->value.fd, &run->new_fd, true));
    if (made)
        return STATUS_DONE;
    return fail(run->task, STATUS_FAILED, NULL, "the pipes to its rotator: %s", strerror(errno));
}

/* ---- Starting ------------------------------------------------------------- */

/* The mask of file modes is 077, and there is no core: main() has seen to it, but for the hard
 * limit. */
static int spawn_with(struct run *run, char **environment)
{
    const struct rotator_step *step = run->step;
    const struct rlimit no_core = {0, 0};
    char *argv[] = {(char *)step->program, (char *)rotator_step_name(step->step), NULL};
    const int fds[] = {run->output_fd, run->output_fd, run->old_fd, run->new_fd}; /* 1, 2, 3, 4 */

    setrlimit(RLIMIT_CORE, &no_core);
    return program_spawn(argv, environment, fds, sizeof fds / sizeof fds[0], &run->pid);
}

static int spawn(struct run *run)
{
    const struct rotator_step *step = run->step;
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *number = NULL;
    char search[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char language[] = "LANG=C.UTF-8";

    if (asprintf(&path, "SECRETFS_PATH=%s", step->path) < 0)
        path = NULL;
    if (asprintf(&name, "SECRETFS_STEP=%s", rotator_step_name(step->step)) < 0)
        name = NULL;
    if (asprintf(&number, "SECRETFS_VERSION=%u", (unsigned)step->number) < 0)
        number = NULL;
    if (!path || !name || !number)
        return ENOMEM;
    char *environment[] = {search, language, path, name, number, NULL};
    return spawn_with(run, environment);
}

/* ---- Its end -------------------------------------------------------------- */

/* Wait for something to happen, up to `deadline_ms`, and say what it means. */
static enum ending look(struct run *run, int64_t deadline_ms)
{
    struct pollfd fds[] = {
        {.fd = run->pid_fd, .events = POLLIN},
        {.fd = run->signal_fd, .events = POLLIN},
        {.fd = run->output.fd, .events = POLLIN},
        {.fd = run->value.fd, .events = POLLIN},
    };
    int64_t left_ms = deadline_ms - clock_now_ms();
    int ready = left_ms > 0 ? poll(fds, sizeof fds / sizeof fds[0], (int)left_ms) : 0;

    if (left_ms <= 0)
        return TIMED_OUT;
    if (ready <= 0)
        return RUNNING;
    if (fds[1].revents)
        return INTERRUPTED;
    if (fds[2].revents)
        take(run, &run->output);
    if (fds[3].revents)
        take(run, &run->value);
    if (run->value.over)
        return TOO_LARGE;
    return fds[0].revents ? ENDED : RUNNING;
}

/* Until it ends or must; nothing of its group is left then. Its number can't be another's before
 * waitpid(). */
static void follow(struct run *run)
{
    int64_t deadline_ms = clock_now_ms() + (int64_t)run->step->timeout_s * 1000;

    run->ending = RUNNING;
    while (run->ending == RUNNING)
        run->ending = look(run, deadline_ms);
    kill(-run->pid, SIGKILL);
    while (waitpid(run->pid, &run->wait_status, 0) < 0 && errno == EINTR)
        ;
    take_rest(run, &run->output);
    take_rest(run, &run->value);
    if (run->ending == ENDED && run->value.over)
        run->ending = TOO_LARGE;
}

/* ---- What it printed ------------------------------------------------------ */

static void remark(const struct run *run, const char *text, size_t len)
{
    const struct rotator_step *step = run->step;
    AUTO_FREE char *line = NULL;

    if (asprintf(&line, "rotate '%s': %s: %s: %.*s", step->path, step->name,
                 rotator_step_name(step->step), (int)len, text) < 0) {
        line = NULL;
        return;
    }
    fail_remark(line);
}

static void print_output(struct run *run)
{
    struct secbuf *text = run->output.to;
    const struct secbuf *values[] = {run->step->old_value,
                                     run->step->new_value ? run->step->new_value : run->value.to};
    static const char hidden[] = "(what it printed is left out: a value is too short to be masked)";
    static const char cut[] = "(the rest is left out)";
    bool printed = text->len > 0;

    if (!mask(text, values, 2)) {
        if (printed)
            remark(run, hidden, strlen(hidden));
        return;
    }
    for (size_t at = 0; at < text->len;) {
        const unsigned char *line = text->data + at;
        const unsigned char *newline = memchr(line, '\n', text->len - at);
        size_t len = newline ? (size_t)(newline - line) : text->len - at;
        if (len > 0)
            remark(run, (const char *)line, len);
        at += len + 1;
    }
    if (run->output.over)
        remark(run, cut, strlen(cut));
}

static enum status verdict(const struct run *run)
{
    const char *name = run->step->name;
    const char *step = rotator_step_name(run->step->step);
    int status = run->wait_status;

    switch (run->ending) {
    case RUNNING:
    case ENDED:
        break;
    case TIMED_OUT:
        return fail(run->task, STATUS_FAILED, AGAIN,
                    "its rotator '%s' took longer than %u s in the step '%s'", name,
                    (unsigned)run->step->timeout_s, step);
    case TOO_LARGE:
        return fail(run->task, STATUS_FAILED, AGAIN,
                    "its rotator '%s' wrote a value of more than 1 MiB in the step '%s'", name,
                    step);
    case INTERRUPTED:
        return fail(run->task, STATUS_FAILED, "rotate again to go on",
                    "it was interrupted in the step '%s' of its rotator '%s'", step, name);
    }
    if (WIFSIGNALED(status))
        return fail(run->task, STATUS_FAILED, AGAIN,
                    "its rotator '%s' was ended by signal %d (%s) in the step '%s'", name,
                    WTERMSIG(status), strsignal(WTERMSIG(status)), step);
    if (WEXITSTATUS(status) != 0)
        return fail(run->task, STATUS_FAILED, AGAIN,
                    "its rotator '%s' ended with exit status %d in the step '%s'", name,
                    WEXITSTATUS(status), step);
    return STATUS_DONE;
}

/* ---- All of it ------------------------------------------------------------ */

static enum status start(struct run *run)
{
    int error = spawn(run);

    close_fd(&run->old_fd);
    close_fd(&run->new_fd);
    close_fd(&run->output_fd);
    if (error)
        return fail(run->task, STATUS_FAILED, AGAIN, "its rotator '%s' can't be started: %s",
                    run->step->program, strerror(error));
    run->pid_fd = pidfd_open(run->pid, 0);
    if (run->pid_fd >= 0)
        return STATUS_DONE;
    error = errno;
    kill(-run->pid, SIGKILL);
    waitpid(run->pid, NULL, 0);
    return fail(run->task, STATUS_FAILED, AGAIN, "its rotator '%s' can't be watched: %s",
                run->step->program, strerror(error));
}

static void release(struct run *run)
{
    close_fd(&run->old_fd);
    close_fd(&run->new_fd);
    close_fd(&run->output_fd);
    close_fd(&run->output.fd);
    close_fd(&run->value.fd);
    close_fd(&run->pid_fd);
    close_fd(&run->signal_fd);
    secbuf_release(&run->chunk);
}

enum status rotator_run(const struct task *task, const struct rotator_step *step,
                        struct secbuf *ret_value)
{
    SECBUF_AUTO struct secbuf output = SECBUF_INIT;
    struct run run = {.task = task,
                      .step = step,
                      .old_fd = -1,
                      .new_fd = -1,
                      .output_fd = -1,
                      .output = {.fd = -1},
                      .value = {.fd = -1},
                      .pid_fd = -1,
                      .signal_fd = -1};
    sigset_t before;
    enum status status = prepare(&run, &output, ret_value);

    if (status == STATUS_DONE)
        run.signal_fd = program_hold_signals(&before);
    if (status == STATUS_DONE && run.signal_fd < 0) {
        status = fail(task, STATUS_FAILED, NULL, "signals: %s", strerror(errno));
    } else if (status == STATUS_DONE) {
        status = start(&run);
        if (status == STATUS_DONE) {
            follow(&run);
            print_output(&run);
            status = verdict(&run);
        }
        sigprocmask(SIG_SETMASK, &before, NULL); /* what was kept comes now */
    }
    release(&run);
    if (status != STATUS_DONE)
        secbuf_wipe(ret_value);
    return status;
}
