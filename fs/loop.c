/*
 * Threads that read from /dev/fuse: see loop.h. Requests and answers as in
 * include/uapi/linux/fuse.h.
 */
#define FUSE_USE_VERSION 312
#include "loop.h"
#include "clock.h"
#include "log.h"
#include "pool.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * As much as the kernel wants to be offered for the largest of requests, a write of the default
 * max_write. Those that come here are small: a head and names. Their pages are locked, because a
 * thread that is killed while the kernel has to find memory for its request takes it with it, and
 * its caller gets EIO.
 */
#define BUFFER_BYTES (1024 * 1024 + 64 * 1024)
#define BUFFER_USED_BYTES (16 * 1024)

struct thread {
    struct loop *loop;
    struct pool_thread *turn;
    struct kept_task *task;
    unsigned char *buffer;
    pthread_t thread;
};

_Static_assert(KEPT_TASKS <= POOL_THREADS_MAX, "the pool has room for as many threads");

struct loop {
    struct fuse_session *session;
    int device_fd;
    struct kept *kept;
    int ended_fd;
    _Atomic bool failed;
    struct pool pool;
    unsigned count;
    struct thread threads[KEPT_TASKS];
};

/* ---- What is kept -------------------------------------------------------- */

static void note_death(struct kept *kept, uint64_t request)
{
    struct kept_death *least = &kept->deaths[0];

    for (size_t i = 0; i < KEPT_TASKS; i++) {
        struct kept_death *death = &kept->deaths[i];
        if (death->request == request) {
            death->count++;
            return;
        }
        if (death->count < least->count)
            least = death;
    }
    *least = (struct kept_death){request, 1};
}

/* Whether a task from `first` on is at `request`: sent again, it may have been taken twice. */
static bool is_at(const struct kept *kept, size_t first, uint64_t request)
{
    for (size_t i = first; i < KEPT_TASKS; i++)
        if (kept->tasks[i].request == request)
            return true;
    return false;
}

void loop_note_deaths(struct kept *kept)
{
    for (size_t i = 0; i < KEPT_TASKS; i++) {
        uint64_t request = atomic_exchange(&kept->tasks[i].request, 0);
        if (request && !is_at(kept, i + 1, request))
            note_death(kept, request);
    }
}

bool loop_is_deadly(const struct kept *kept, uint64_t request)
{
    for (size_t i = 0; i < KEPT_TASKS; i++)
        if (kept->deaths[i].request == request)
            return kept->deaths[i].count >= LOOP_DEATHS_MAX;
    return false;
}

bool loop_is_stuck(const struct kept *kept, int64_t now_ms)
{
    for (size_t i = 0; i < KEPT_TASKS; i++)
        if (kept->tasks[i].request && now_ms - kept->tasks[i].since_ms > LOOP_OVERDUE_MS)
            return true;
    return false;
}

/* ---- The threads --------------------------------------------------------- */

static void refuse(const struct loop *loop, const struct fuse_in_header *in)
{
    const struct fuse_out_header out = {.len = sizeof out, .error = -EIO, .unique = in->unique};

    if (write(loop->device_fd, &out, sizeof out) < 0 && errno != ENOENT)
        log_system_error("answer", "a request", errno);
    log_error("a request (opcode %u) ended %d workers; it was answered with EIO", in->opcode,
              LOOP_DEATHS_MAX);
}

static _Thread_local uint64_t current_request;

uint64_t loop_request(void)
{
    return current_request;
}

static void process(const struct thread *t, size_t bytes, int64_t waited_from_ns)
{
    const struct fuse_in_header *in = (const struct fuse_in_header *)(const void *)t->buffer;
    const struct fuse_buf buf = {.mem = t->buffer, .size = bytes};
    uint64_t request = in->unique & ~FUSE_UNIQUE_RESEND;

    if (loop_is_deadly(t->loop->kept, request)) {
        refuse(t->loop, in);
        return;
    }
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    t->task->since_ms = now_ns / 1000000;
    t->task->request = request;
    current_request = in->unique;
    pool_took(t->turn, waited_from_ns, now_ns);
    fuse_session_process_buf(t->loop->session, &buf);
    pool_answered(t->turn);
    t->task->request = 0;
}

static void *run(void *arg)
{
    const struct thread *t = arg;
    struct loop *loop = t->loop;
    uint64_t one = 1;

    while (!fuse_session_exited(loop->session)) {
        if (!pool_enter(t->turn))
            continue;
        int64_t from_ns = clock_ns(CLOCK_MONOTONIC);
        ssize_t n = read(loop->device_fd, t->buffer, BUFFER_BYTES);
        if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
            process(t, (size_t)n, from_ns);
        } else if (n >= 0 || (errno != EINTR && errno != ENOENT && errno != EAGAIN)) {
            if (n >= 0 || errno != ENODEV) { /* by which the kernel ends the session */
                log_system_error("read from", "/dev/fuse", n < 0 ? errno : EPROTO);
                loop->failed = true;
            }
            break;
        }
    }
    if (write(loop->ended_fd, &one, sizeof one) < 0)
        loop->failed = true;
    return NULL;
}

/* Returns 0 or an errno. */
static int start_thread(struct loop *loop, struct thread *t)
{
    *t = (struct thread){.loop = loop,
                         .turn = &loop->pool.threads[loop->count],
                         .task = &loop->kept->tasks[loop->count]};
    void *buffer =
        mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        return errno;
    t->buffer = buffer;
    /* Where locking is refused (or does nothing, as under a sanitizer), they are there at least
     * until they are swapped out. */
    memset(buffer, 1, BUFFER_USED_BYTES);
    mlock(buffer, BUFFER_USED_BYTES);
    int error = pthread_create(&t->thread, NULL, run, t);
    if (error)
        munmap(buffer, BUFFER_BYTES);
    return error;
}

static void wake(int signal)
{
    (void)signal;
}

struct loop *loop_start(struct fuse_session *session, int device_fd, struct kept *kept,
                        unsigned count)
{
    const struct sigaction action = {.sa_handler = wake};
    struct loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL)
        return NULL;
    *loop = (struct loop){.session = session, .device_fd = device_fd, .kept = kept};
    loop->ended_fd = eventfd(0, EFD_CLOEXEC);
    int error = loop->ended_fd < 0 ? errno : sigaction(SIGUSR1, &action, NULL);
    if (error == 0)
        error = pool_start(&loop->pool, count);
    while (error == 0 && loop->count < count) {
        error = start_thread(loop, &loop->threads[loop->count]);
        loop->count += error == 0;
    }
    if (error == 0)
        return loop;
    loop_stop(loop);
    errno = error;
    return NULL;
}

int loop_ended_fd(const struct loop *loop)
{
    return loop->ended_fd;
}

/* A signal ends a thread's wait for a request; it is sent again in case it came just before. */
static void join(pthread_t thread)
{
    struct timespec until;

    do {
        pthread_kill(thread, SIGUSR1);
        until = clock_after_ms(CLOCK_REALTIME, 20);
    } while (pthread_timedjoin_np(thread, NULL, &until) == ETIMEDOUT);
}

bool loop_stop(struct loop *loop)
{
    fuse_session_exit(loop->session);
    for (unsigned i = 0; i < loop->count; i++) {
        join(loop->threads[i].thread);
        munmap(loop->threads[i].buffer, BUFFER_BYTES);
    }
    pool_stop(&loop->pool);
    if (loop->ended_fd >= 0)
        close(loop->ended_fd);
    bool succeeded = !loop->failed;
    free(loop);
    return succeeded;
}
