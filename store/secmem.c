/*
 * Secret memory on libsodium's guarded heap. sodium_malloc() ignores a failed mlock(2), so it is
 * asked for once more here, where the answer counts.
 */
#include "secmem.h"
#include "fault.h"

#include <sodium.h>
#include <stdatomic.h>
#include <sys/mman.h>

static bool swap_allowed;
static atomic_size_t live;

enum store_err secmem_init(void)
{
    if (sodium_init() < 0)
        return fault(STORE_ERR_IO, "start", "the crypto library", "no source of random numbers");
    return STORE_OK;
}

void secmem_allow_swap(bool allow)
{
    swap_allowed = allow;
}

enum store_err secbuf_alloc(struct secbuf *buf, size_t capacity)
{
    secbuf_release(buf);
    unsigned char *data = sodium_malloc(capacity);
    if (data == NULL)
        return fault(STORE_ERR_NO_MEMORY, "allocate", "secret memory", NULL);
    if (capacity > 0 && mlock(data, capacity) != 0 && !swap_allowed) {
        sodium_free(data);
        return fault(STORE_ERR_MEMORY_LOCK, "lock", "secret memory", NULL);
    }
    sodium_memzero(data, capacity);
    buf->data = data;
    buf->capacity = capacity;
    atomic_fetch_add(&live, 1);
    return STORE_OK;
}

enum store_err secbuf_reserve(struct secbuf *buf, size_t capacity)
{
    if (capacity > buf->capacity || buf->data == NULL)
        return secbuf_alloc(buf, capacity);
    secbuf_wipe(buf);
    return STORE_OK;
}

void secbuf_wipe(struct secbuf *buf)
{
    if (buf->data)
        sodium_memzero(buf->data, buf->capacity);
    buf->len = 0;
}

void secbuf_release(struct secbuf *buf)
{
    if (buf->data) {
        sodium_free(buf->data);
        atomic_fetch_sub(&live, 1);
    }
    *buf = (struct secbuf)SECBUF_INIT;
}

size_t secbuf_live(void)
{
    return atomic_load(&live);
}
