/*
 * See resolver.h: a question, a look (facts.c), an answer. What has no room on the socket is
 * dropped: whoever asked has ended, or waits no more.
 */
#include "resolver.h"
#include "facts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct resolver {
    int socket;
    struct facts_mount mount;
    pthread_t thread;
};

static void send_answer(int socket, struct callers_answer *answer, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct iovec part = {.iov_base = answer, .iov_len = sizeof *answer};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}

static void answer(const struct resolver *r, const struct callers_question *question)
{
    struct callers_answer answer = {.number = question->number};
    int fd = -1;

    answer.known = facts_find(question->thread, &r->mount, &answer, &fd);
    if (!answer.known)
        answer.facts = (struct caller_facts){0};
    send_answer(r->socket, &answer, fd);
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
