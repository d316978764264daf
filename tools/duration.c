/*
 * Durations, from numbers with units and back. A day has 24 hours here; months and years, which
 * differ in length, are no units.
 */
#include "duration.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

/* The larger first. */
static const struct unit {
    char letter;
    uint64_t seconds;
} units[] = {{'w', 7 * 86400}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

#define UNITS_END (units + sizeof(units) / sizeof(units[0]))
#define DAYS (units + 1)

/* The digits at *at; then *at is behind them. False without any, and beyond `max`. */
static bool take_number(const char **at, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (number > max / 10 || digit > max - 10 * number)
            return false;
        number = 10 * number + digit;
    }
    *ret_number = number;
    return true;
}

bool duration_parse(const char *text, uint64_t max_s, uint64_t *ret_s)
{
    const struct unit *unit = units; /* the first that may come next */
    uint64_t seconds = 0;
    uint64_t number;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (!take_number(&text, max_s, &number))
            return false;
        while (unit < UNITS_END && unit->letter != *text)
            unit++;
        if (unit == UNITS_END || number > (max_s - seconds) / unit->seconds)
            return false;
        seconds += number * unit->seconds;
        unit++;
    }
    *ret_s = seconds;
    return true;
}

void duration_print(uint64_t duration_s, char ret_text[static DURATION_TEXT])
{
    const struct unit *unit = DAYS;

    while (duration_s % unit->seconds != 0)
        unit++;
    snprintf(ret_text, DURATION_TEXT, "%" PRIu64 "%c", duration_s / unit->seconds, unit->letter);
}
