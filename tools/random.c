/*
 * Random bytes from getrandom(2), which waits until the kernel has gathered enough at boot.
 *
 * Must not know what they are for.
 */
#include "random.h"

#include <errno.h>
#include <sys/random.h>

enum store_err random_refill(struct secbuf *bytes)
{
    bytes->len = 0;
    while (bytes->len < bytes->capacity) {
        ssize_t n = getrandom(bytes->data + bytes->len, bytes->capacity - bytes->len, 0);
        if (n < 0 && errno != EINTR)
            return STORE_ERR_IO;
        if (n > 0)
            bytes->len += (size_t)n;
    }
    return STORE_OK;
}

enum store_err random_alloc(struct secbuf *ret_bytes, size_t count)
{
    enum store_err err = secbuf_alloc(ret_bytes, count);

    if (err != STORE_OK)
        return err;
    return random_refill(ret_bytes);
}
