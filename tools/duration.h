/*
 * Durations as people write them: numbers with the units s, m, h, d (24 h) and w, the larger first,
 * such as 90s, 12h, 30d or 1d12h.
 *
 * Must not know what they are for.
 */
#ifndef TOOLS_DURATION_H
#define TOOLS_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#define DURATION_TEXT 24

/* Whether `text` is a duration of up to `max_s`, of 0 too; only then is *ret_s set. */
bool duration_parse(const char *text, uint64_t max_s, uint64_t *ret_s);

/* As one number, with the largest unit up to a day of which it is a whole one. */
void duration_print(uint64_t duration_s, char ret_text[static DURATION_TEXT]);

#endif
