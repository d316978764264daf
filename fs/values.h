/*
 * Locked buffers for values, one for each request that is being answered; wiped as soon as the
 * answer has been sent, and kept for the next. So a read neither allocates nor leaves anything
 * behind.
 */
#ifndef FS_VALUES_H
#define FS_VALUES_H

#include "secmem.h"

#include <pthread.h>

#define VALUES_KEPT 16                /* buffers */
#define VALUES_KEPT_BYTES (64 * 1024) /* larger ones are freed after use */

struct values {
    pthread_mutex_t lock;
    struct secbuf free[VALUES_KEPT];
    size_t count;
};

void values_init(struct values *values);
void values_release(struct values *values);

/* A buffer to read into, empty or left by an earlier request. Give it back. thread: safe */
struct secbuf values_take(struct values *values);

/* Wipe `buf` and keep it. thread: safe */
void values_give(struct values *values, struct secbuf *buf);

#endif
