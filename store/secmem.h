/*
 * Memory for secret bytes: guarded, locked against swapping, left out of cores, wiped when
 * released. Values and keys live in a struct secbuf and nowhere else; no function that prints takes
 * one.
 */
#ifndef STORE_SECMEM_H
#define STORE_SECMEM_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialise with SECBUF_INIT. `len` bytes at `data` are in use out of `capacity`. */
struct secbuf {
    unsigned char *data;
    size_t len;
    size_t capacity;
};

#define SECBUF_INIT \
    {               \
        NULL, 0, 0  \
    }
#define SECBUF_AUTO __attribute__((cleanup(secbuf_release)))

/*
 * Initialise the crypto library. Call once before anything else of this library; further calls do
 * nothing. Returns STORE_ERR_IO where the system has no usable random source.
 */
STORE_CHECKED enum store_err secmem_init(void);

/* Accept memory that can't be locked (the daemon's allow_swap). Call before other threads start. */
void secmem_allow_swap(bool allow);

/*
 * Make `buf` hold `capacity` bytes (0 is allowed), all zero, len 0. What it held is released first.
 * errors: NO_MEMORY; MEMORY_LOCK when the kernel refuses to lock it and swapping isn't allowed.
 * thread: safe for distinct buffers.
 */
STORE_CHECKED enum store_err secbuf_alloc(struct secbuf *buf, size_t capacity);

/* The same, but memory that is large enough already is wiped and used again. */
STORE_CHECKED enum store_err secbuf_reserve(struct secbuf *buf, size_t capacity);

/* Overwrite the contents with zeros and set len to 0; the memory stays allocated for the next use.
 */
void secbuf_wipe(struct secbuf *buf);

/* Wipe and free. `buf` is empty afterwards and may be used again. Safe on an empty one. */
void secbuf_release(struct secbuf *buf);

/* Buffers now allocated in this process; 0 when nothing leaked. For tests. */
size_t secbuf_live(void);

#endif
