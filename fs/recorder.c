/*
 * See recorder.h. Only the thread looks at processes. It holds the lock meanwhile; the supervisor
 * takes it to answer who has read what, and does not wait long.
 */
#include "recorder.h"
#include "clock.h"
#include "readers.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define PATIENCE_MS 1000

struct recorder {
    struct opens *opens;
    struct readers *readers;
    pthread_mutex_t lock; /* of readers and wanted */
    pthread_cond_t taken;
    bool wanted; /* all of it is to be taken now */
    sem_t wake;
    _Atomic uint64_t noted; /* opens->noted when it was last looked at, */
    _Atomic bool left;      /* and not all of it was taken */
    _Atomic bool stopped;
    pthread_t thread;
};

static void *run(void *arg)
{
    struct recorder *r = arg;

    while (!r->stopped) {
        r->noted = r->opens->noted;
        pthread_mutex_lock(&r->lock);
        if (r->wanted)
            readers_take(r->readers, r->opens);
        else
            r->left = readers_tend(r->readers, r->opens);
        r->wanted = false;
        pthread_cond_signal(&r->taken);
        pthread_mutex_unlock(&r->lock);
        while (sem_wait(&r->wake) != 0 && errno == EINTR)
            ;
    }
    return NULL;
}

static void recorder_free(struct recorder *r)
{
    sem_destroy(&r->wake);
    pthread_cond_destroy(&r->taken);
    pthread_mutex_destroy(&r->lock);
    readers_free(r->readers);
    free(r);
}

struct recorder *recorder_start(struct opens *opens)
{
    struct recorder *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->opens = opens;
    r->readers = readers_new();
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->taken, NULL);
    sem_init(&r->wake, 0, 0);
    if (r->readers && pthread_create(&r->thread, NULL, run, r) == 0) {
        pthread_setname_np(r->thread, "secretfs-record");
        return r;
    }
    recorder_free(r);
    return NULL;
}

void recorder_wake(struct recorder *r)
{
    int waiting;

    if (r && (r->opens->pending || r->left || r->opens->noted != r->noted) &&
        sem_getvalue(&r->wake, &waiting) == 0 && waiting == 0)
        sem_post(&r->wake);
}

int recorder_file(struct recorder *r, uint64_t device)
{
    errno = ENOMEM;
    if (r == NULL)
        return -1;
    int64_t deadline_ms = clock_now_ms() + PATIENCE_MS;
    struct timespec until = clock_after_ms(CLOCK_MONOTONIC, PATIENCE_MS);
    int fd = -1;
    int error = clock_lock(&r->lock, deadline_ms);
    if (error == 0) {
        r->wanted = true;
        sem_post(&r->wake);
        while (r->wanted && error == 0)
            error = pthread_cond_clockwait(&r->taken, &r->lock, CLOCK_MONOTONIC, &until);
        fd = error ? -1 : readers_file(r->readers, r->opens, device);
        error = error ? error : errno;
        pthread_mutex_unlock(&r->lock);
    }
    errno = error;
    return fd;
}

void recorder_stop(struct recorder *r)
{
    if (r == NULL)
        return;
    r->stopped = true;
    sem_post(&r->wake);
    pthread_join(r->thread, NULL);
    recorder_free(r);
}
