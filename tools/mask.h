/*
 * Taking values out of text that is to be printed. Knows nothing of where it comes from.
 */
#ifndef TOOLS_MASK_H
#define TOOLS_MASK_H

#include "secmem.h"

#include <stdbool.h>

/* Shorter values are in any text by chance, so nothing can be told of where they stand. */
#define MASK_VALUE_MIN 4

/* A piece of a value that is at least that long counts as the value. */
#define MASK_PIECE_MIN 8

/*
 * Replace in `text`, in place, what is in one of the `count` values by "***": a value as a whole,
 * without the blanks and newlines at its ends, or any piece of it of MASK_PIECE_MIN bytes and more.
 * Empty values are in nothing.
 * Returns false where a value is shorter than MASK_VALUE_MIN, and for want of memory; then all of
 * `text` is wiped.
 */
bool mask(struct secbuf *text, const struct secbuf *const *values, size_t count);

#endif
