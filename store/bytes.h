/*
 * Little-endian integers of up to 8 bytes in byte arrays, the order of every number in the format.
 * Private.
 */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void put_le(unsigned char *at, uint64_t v, size_t bytes)
{
    v = htole64(v);
    memcpy(at, &v, bytes);
}

static inline uint64_t get_le(const unsigned char *at, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, at, bytes);
    return le64toh(v);
}

#endif
