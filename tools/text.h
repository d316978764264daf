/*
 * Text for terminals: escaping of what must not reach one, and numbers.
 *
 * Control bytes, and bytes that are not UTF-8, become \xHH. Must not know the store.
 */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Whether all of `text` is UTF-8 without control characters. */
bool text_printable(const char *text);

/* `text` escaped; the caller frees it. NULL when out of memory. */
char *text_escape(const char *text);

/* Write `text` to `out`, escaped. */
void text_print(FILE *out, const char *text);

/* A decimal number and nothing else, up to `max`. */
bool text_number(const char *text, uint32_t max, uint32_t *ret_number);

#endif
