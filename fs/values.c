/*
 * A small stack of buffers. See values.h.
 */
#include "values.h"

void values_init(struct values *values)
{
    pthread_mutex_init(&values->lock, NULL);
    values->count = 0;
}

void values_release(struct values *values)
{
    while (values->count > 0)
        secbuf_release(&values->free[--values->count]);
    pthread_mutex_destroy(&values->lock);
}

struct secbuf values_take(struct values *values)
{
    struct secbuf buf = SECBUF_INIT;
    pthread_mutex_lock(&values->lock);
    if (values->count > 0)
        buf = values->free[--values->count];
    pthread_mutex_unlock(&values->lock);
    return buf;
}

void values_give(struct values *values, struct secbuf *buf)
{
    secbuf_wipe(buf);
    if (buf->capacity > 0 && buf->capacity <= VALUES_KEPT_BYTES) {
        pthread_mutex_lock(&values->lock);
        if (values->count < VALUES_KEPT) {
            values->free[values->count++] = *buf;
            *buf = (struct secbuf)SECBUF_INIT;
        }
        pthread_mutex_unlock(&values->lock);
    }
    secbuf_release(buf);
}
