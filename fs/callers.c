/*
 * One question at a time, under a lock: the supervisor has one thread to answer anyway, and what
 * comes in late, to another question or to a former worker, is told by its number. The cache is in
 * parts by the number of the thread, each with a lock of its own.
 */
#include "callers.h"
#include "clock.h"
#include "passing.h"
#include "pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PARTS 16
#define PART_MAX (CALLERS_MAX / PARTS)

struct entry {
    int name_fd;
    char name[IDENTITY_COMMAND + 1];
    struct caller caller;
};

struct part {
    pthread_mutex_t lock;
    uint64_t uses;              /* so far */
    uint32_t thread[PART_MAX];  /* 0: the entry is free */
    uint64_t used_at[PART_MAX]; /* the last use, counted by `uses` */
    struct entry entry[PART_MAX];
};

struct callers {
    int socket;
    unsigned room; /* entries of a part */
    pthread_mutex_t asking;
    uint64_t number;
    struct part parts[PARTS];
};

struct callers *callers_new(int socket, unsigned files)
{
    struct callers *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->socket = socket;
    c->room = files < CALLERS_MAX ? files / PARTS : PART_MAX;
    c->number = (uint64_t)clock_ns(CLOCK_BOOTTIME);
    pthread_mutex_init(&c->asking, NULL);
    for (unsigned i = 0; i < PARTS; i++)
        pthread_mutex_init(&c->parts[i].lock, NULL);
    return c;
}

static void forget(struct part *part, unsigned i)
{
    if (part->thread[i])
        close(part->entry[i].name_fd);
    part->thread[i] = 0;
    part->used_at[i] = 0;
}

void callers_free(struct callers *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < PARTS; i++) {
        for (unsigned e = 0; e < c->room; e++)
            forget(&c->parts[i], e);
        pthread_mutex_destroy(&c->parts[i].lock);
    }
    pthread_mutex_destroy(&c->asking);
    free(c);
}

/* ---- Asking -------------------------------------------------------------- */

/* Take a message. Returns whether there was one, to whichever question; a descriptor that came with
 * it is the caller's to close. */
static bool receive(int socket, struct callers_answer *ret_answer, int *ret_fd)
{
    ssize_t n = passing_receive(socket, ret_answer, sizeof *ret_answer, MSG_DONTWAIT, ret_fd);

    if (n <= 0)
        return false;
    if (n != sizeof *ret_answer)
        ret_answer->number = 0;
    return true;
}

/* Wait for the answer to a question, dropping others. */
static bool await(int socket, uint64_t number, int64_t deadline_ms,
                  struct callers_answer *ret_answer, int *ret_fd)
{
    struct pollfd fd = {.fd = socket, .events = POLLIN};
    int64_t left_ms;

    while ((left_ms = deadline_ms - clock_now_ms()) >= 0) {
        int ready = poll(&fd, 1, (int)left_ms);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready <= 0)
            continue;
        if (!receive(socket, ret_answer, ret_fd)) {
            if (fd.revents & (POLLHUP | POLLERR))
                return false;
            continue;
        }
        if (ret_answer->number == number)
            return true;
        if (*ret_fd >= 0)
            close(*ret_fd);
    }
    return false;
}

/* Ask the supervisor. out: ret_fd  of the thread's name, the caller's to close; -1 where we have
 * too many descriptors already */
static bool ask(struct callers *c, uint32_t thread, int patience_ms,
                struct callers_answer *ret_answer, int *ret_fd)
{
    int64_t deadline_ms = clock_now_ms() + patience_ms;

    if (thread == 0)
        return false;
    pool_yield();
    if (clock_lock(&c->asking, deadline_ms) != 0)
        return false;
    struct callers_question question = {.number = ++c->number, .thread = thread};
    bool answered = send(c->socket, &question, sizeof question, MSG_DONTWAIT | MSG_NOSIGNAL) ==
                        (ssize_t)sizeof question &&
                    await(c->socket, question.number, deadline_ms, ret_answer, ret_fd);
    pthread_mutex_unlock(&c->asking);
    if (answered && !ret_answer->known && *ret_fd >= 0)
        close(*ret_fd);
    return answered && ret_answer->known;
}

bool callers_ask(struct callers *c, uint32_t thread, struct caller_facts *ret_facts)
{
    struct callers_answer answer;
    int fd;

    bool found = ask(c, thread, CALLERS_DECIDING_MS, &answer, &fd);
    if (found) {
        if (fd >= 0)
            close(fd);
        *ret_facts = answer.facts;
    }
    return found;
}

/* ---- What is kept -------------------------------------------------------- */

/* Whether the thread goes on under the name that it had. */
static bool is_same(const struct entry *entry)
{
    char name[sizeof entry->name] = "";
    ssize_t n = pread(entry->name_fd, name, sizeof name - 1, 0);

    return n > 0 && memcmp(name, entry->name, sizeof name) == 0;
}

static unsigned place_of(const struct callers *c, const struct part *part, uint32_t thread)
{
    unsigned i = 0;

    while (i < c->room && part->thread[i] != thread)
        i++;
    return i;
}

static bool recall(struct callers *c, struct part *part, uint32_t thread, struct caller *ret_caller)
{
    pthread_mutex_lock(&part->lock);
    unsigned i = place_of(c, part, thread);
    bool found = i < c->room && is_same(&part->entry[i]);
    if (found) {
        part->used_at[i] = ++part->uses;
        *ret_caller = part->entry[i].caller;
    } else if (i < c->room) {
        forget(part, i);
    }
    pthread_mutex_unlock(&part->lock);
    return found;
}

/* The entry for a thread: its own, or the one that was used longest ago; one that is free never
 * was.
 */
static unsigned make_place(const struct callers *c, const struct part *part, uint32_t thread)
{
    unsigned oldest = place_of(c, part, thread);

    if (oldest < c->room)
        return oldest;
    oldest = 0;
    for (unsigned i = 1; i < c->room; i++)
        if (part->used_at[i] < part->used_at[oldest])
            oldest = i;
    return oldest;
}

/* The descriptor is kept, too, or closed; without one nothing is. */
static void keep(struct callers *c, struct part *part, uint32_t thread, int name_fd,
                 const struct callers_answer *answer)
{
    if (c->room == 0 && name_fd >= 0)
        close(name_fd);
    if (c->room == 0 || name_fd < 0)
        return;
    pthread_mutex_lock(&part->lock);
    unsigned i = make_place(c, part, thread);
    struct entry *entry = &part->entry[i];
    forget(part, i);
    part->thread[i] = thread;
    part->used_at[i] = ++part->uses;
    entry->name_fd = name_fd;
    entry->caller = answer->facts.caller;
    memcpy(entry->name, answer->name, sizeof entry->name);
    pthread_mutex_unlock(&part->lock);
}

bool callers_find(struct callers *c, uint32_t thread, bool fresh, struct caller *ret_caller)
{
    struct part *part = &c->parts[thread % PARTS];
    struct callers_answer answer;
    int name_fd;

    if (!fresh && thread && recall(c, part, thread, ret_caller))
        return true;
    if (!ask(c, thread, fresh ? CALLERS_DECIDING_MS : CALLERS_PATIENCE_MS, &answer, &name_fd)) {
        *ret_caller = (struct caller){0};
        return false;
    }
    *ret_caller = answer.facts.caller;
    keep(c, part, thread, name_fd, &answer);
    return true;
}
