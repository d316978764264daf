/*
 * Values are found by pieces, since a program that fails prints a line of a key, or the password
 * out of a connection string, more often than the whole.
 *
 * Text is some KiB and a value up to 1 MiB: each place of the text costs one memmem(3).
 */
#include "mask.h"

#include "auto.h"

#include <stdlib.h>
#include <string.h>

static const char stars[] = "***";
#define STARS (sizeof stars - 1)

_Static_assert(STARS <= MASK_VALUE_MIN, "text only gets shorter");

static bool blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The value without what is around it; it belongs to `value`. */
static struct secbuf trim(const struct secbuf *value)
{
    struct secbuf inner = *value;

    while (inner.len > 0 && blank(inner.data[inner.len - 1]))
        inner.len--;
    while (inner.len > 0 && blank(inner.data[0])) {
        inner.data++;
        inner.len--;
    }
    return inner;
}

static size_t piece_len(const struct secbuf *value)
{
    return value->len < MASK_PIECE_MIN ? value->len : MASK_PIECE_MIN;
}

/* How many bytes at the front of the text are in the value; 0 where they are too few to count. */
static size_t covered(const unsigned char *text, size_t len, const struct secbuf *value)
{
    size_t most = piece_len(value);

    if (most == 0 || len < most || !memmem(value->data, value->len, text, most))
        return 0;
    return most;
}

static size_t covered_by_any(const unsigned char *text, size_t len,
                             const struct secbuf *const *values, size_t count)
{
    size_t most = 0;

    for (size_t i = 0; i < count; i++) {
        struct secbuf value = trim(values[i]);
        size_t n = covered(text, len, &value);
        most = n > most ? n : most;
    }
    return most;
}

/* What is not covered, and stars for each run of what is. */
static void compact(struct secbuf *text, const unsigned char *is_covered)
{
    size_t to = 0;

    for (size_t at = 0; at < text->len; at++) {
        if (!is_covered[at]) {
            text->data[to++] = text->data[at];
        } else if (at == 0 || !is_covered[at - 1]) {
            memcpy(text->data + to, stars, STARS); /* what is covered is longer */
            to += STARS;
        }
    }
    explicit_bzero(text->data + to, text->len - to);
    text->len = to;
}

bool mask(struct secbuf *text, const struct secbuf *const *values, size_t count)
{
    AUTO_FREE unsigned char *is_covered = calloc(text->len + 1, 1);
    bool fits = is_covered != NULL;

    for (size_t i = 0; i < count; i++) {
        struct secbuf value = trim(values[i]);
        fits &= value.len == 0 || value.len >= MASK_VALUE_MIN;
    }
    if (!fits) {
        secbuf_wipe(text);
        return false;
    }
    for (size_t at = 0; at < text->len; at++)
        memset(is_covered + at, 1, covered_by_any(text->data + at, text->len - at, values, count));
    compact(text, is_covered);
    return true;
}
