/*
 * See resolver.h: a question, a look (facts.c), an answer. What has no room on the socket is
 * dropped: whoever asked has ended, or waits no more.
 */
#include "resolver.h"
#include "facts.h"
#include "passing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct resolver {
    int socket;
    struct facts_mount mount;
    pthread_t thread;
};

static void answer(const struct resolver *r, const struct callers_question *question)
{
    struct callers_answer answer = {.number = question->number};
    int fd = -1;

    answer.known = facts_find(question->thread, &r->mount, &answer, &fd);
    if (!answer.known)
        answer.facts = (struct caller_facts){0};
    passing_send(r->socket, &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL, fd);
    if (fd >= 0)
        close(fd);
}

static void *run(void *arg)
{
    const struct resolver *r = arg;
    struct callers_question question;
    ssize_t n;

    while ((n = recv(r->socket, &question, sizeof question, 0)) != 0) {
        if (n == (ssize_t)sizeof question)
            answer(r, &question);
        else if (n < 0 && errno != EINTR)
            break;
    }
    return NULL;
}

struct resolver *resolver_start(int socket, const char *path)
{
    struct resolver *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->socket = socket;
    r->mount.path = path;
    int error = pthread_create(&r->thread, NULL, run, r);
    if (error) {
        free(r);
        errno = error;
        return NULL;
    }
    pthread_setname_np(r->thread, "secretfs-answer");
    return r;
}

void resolver_set_device(struct resolver *r, uint64_t device)
{
    r->mount.device = device;
}

void resolver_stop(struct resolver *r)
{
    if (r == NULL)
        return;
    shutdown(r->socket, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    free(r);
}
