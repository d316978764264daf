/*
 * Durations, from a number and a unit and back. A day has 24 hours here; months and years, which
 * differ in length, are no units.
 */
#include "duration.h"

#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct unit {
    char letter;
    uint64_t seconds;
} units[] = {{'d', 24 * 60 * 60}, {'h', 60 * 60}, {'m', 60}, {'s', 1}};

#define UNITS (sizeof(units) / sizeof(units[0]))
#define DIGITS_MAX 16 /* more than UINT32_MAX has, for leading zeros */

bool duration_parse(const char *text, uint64_t max_s, uint64_t *ret_s)
{
    char digits[DIGITS_MAX + 1] = "";
    size_t len = strlen(text);
    uint32_t number;

    if (len < 2 || len - 1 > DIGITS_MAX)
        return false;
    memcpy(digits, text, len - 1);
    if (!text_number(digits, UINT32_MAX, &number) || number == 0)
        return false;
    for (size_t i = 0; i < UNITS; i++) {
        if (units[i].letter != text[len - 1])
            continue;
        if (number > max_s / units[i].seconds)
            return false;
        *ret_s = number * units[i].seconds;
        return true;
    }
    return false;
}

void duration_print(uint64_t duration_s, char ret_text[static DURATION_TEXT])
{
    const struct unit *unit = units;

    while (duration_s % unit->seconds != 0)
        unit++;
    snprintf(ret_text, DURATION_TEXT, "%" PRIu64 "%c", duration_s / unit->seconds, unit->letter);
}
