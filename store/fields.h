/*
 * The fields of a record: tag, length, bytes; writing them one behind the other, and taking them in
 * the order in which they have to stand. Knows no record. Private.
 */
#ifndef STORE_FIELDS_H
#define STORE_FIELDS_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FIELD_HEAD 5 /* tag and length */

static inline unsigned char *put_head(unsigned char *at, unsigned tag, size_t len)
{
    at[0] = (unsigned char)tag;
    put_le(at + 1, len, 4);
    return at + FIELD_HEAD;
}

static inline unsigned char *put_bytes(unsigned char *at, unsigned tag, const void *bytes,
                                       size_t len)
{
    at = put_head(at, tag, len);
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

static inline unsigned char *put_number(unsigned char *at, unsigned tag, uint64_t v, size_t bytes)
{
    at = put_head(at, tag, bytes);
    put_le(at, v, bytes);
    return at + bytes;
}

/* What is left to read; `bad` sticks, so that callers check once at the end. */
struct reader {
    const unsigned char *at;
    const unsigned char *end;
    bool bad;
};

/* Whether the next field is `tag`; then it is taken. */
static inline bool take(struct reader *r, unsigned tag, const unsigned char **ret_bytes,
                        size_t *ret_len)
{
    if (r->bad || (size_t)(r->end - r->at) < FIELD_HEAD || r->at[0] != tag)
        return false;
    size_t len = get_le(r->at + 1, 4);
    r->at += FIELD_HEAD;
    if (len > (size_t)(r->end - r->at)) {
        r->bad = true;
        return false;
    }
    *ret_bytes = r->at;
    *ret_len = len;
    r->at += len;
    return true;
}

/* A field of up to `max` bytes that may be missing (then length 0 and false). */
static inline bool take_optional(struct reader *r, unsigned tag, void *out, size_t max,
                                 size_t *ret_len)
{
    const unsigned char *bytes;
    *ret_len = 0;
    if (!take(r, tag, &bytes, ret_len))
        return false;
    if (*ret_len > max) {
        r->bad = true;
        return false;
    }
    memcpy(out, bytes, *ret_len);
    return true;
}

static inline void take_exactly(struct reader *r, unsigned tag, void *out, size_t len)
{
    size_t found;
    if (!take_optional(r, tag, out, len, &found) || found != len)
        r->bad = true;
}

static inline uint64_t take_number(struct reader *r, unsigned tag, size_t bytes)
{
    unsigned char number[8] = {0};
    take_exactly(r, tag, number, bytes);
    return r->bad ? 0 : get_le(number, bytes);
}

/* 0 when it is missing; a field that is there must not say 0, so that there is one encoding only.
 */
static inline uint64_t take_optional_number(struct reader *r, unsigned tag)
{
    unsigned char number[8] = {0};
    size_t len;
    if (!take_optional(r, tag, number, sizeof number, &len))
        return 0;
    uint64_t v = get_le(number, sizeof number);
    if (len != sizeof number || v == 0)
        r->bad = true;
    return v;
}

static inline bool finished(const struct reader *r)
{
    return !r->bad && r->at == r->end;
}

#endif
