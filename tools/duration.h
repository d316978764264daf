/*
 * Durations as people write them: a number and a unit, such as 90s, 15m, 12h or 30d.
 *
 * Must not know what they are for.
 */
#ifndef TOOLS_DURATION_H
#define TOOLS_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#define DURATION_TEXT 24

/* Whether `text` is a duration from 1 second to `max_s`; only then is *ret_s set. */
bool duration_parse(const char *text, uint64_t max_s, uint64_t *ret_s);

/* With the largest unit of which it is a whole number. */
void duration_print(uint64_t duration_s, char ret_text[static DURATION_TEXT]);

#endif
