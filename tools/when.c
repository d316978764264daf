/*
 * Dates as RFC 3339, section 5.6, has them, and durations.
 */
#include "when.h"

#include "clock.h"
#include "duration.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SECOND_NS 1000000000
#define YEAR_MAX 2261 /* the last whole one in 64 bits of nanoseconds */

/* Exactly `digits` of them, up to `max`; then *at is behind. */
static bool take_digits(const char **at, int digits, int max, int *ret)
{
    int number = 0;

    for (int i = 0; i < digits; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret = number;
    return number <= max;
}

static bool take_char(const char **at, char c)
{
    if (toupper((unsigned char)**at) != c)
        return false;
    (*at)++;
    return true;
}

/* ".25"; what is finer than a nanosecond is left out. */
static bool take_fraction(const char **at, int64_t *ret_ns)
{
    int64_t unit = SECOND_NS / 10;

    *ret_ns = 0;
    if (!take_char(at, '.'))
        return true;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++, unit /= 10)
        *ret_ns += unit * (**at - '0');
    return true;
}

static bool take_offset(const char **at, int64_t *ret_seconds)
{
    int sign = **at == '-' ? -1 : 1;
    int hours;
    int minutes;

    *ret_seconds = 0;
    if (take_char(at, 'Z'))
        return true;
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    if (!take_digits(at, 2, 23, &hours) || !take_char(at, ':') || !take_digits(at, 2, 59, &minutes))
        return false;
    *ret_seconds = sign * (int64_t)(hours * 60 + minutes) * 60;
    return true;
}

static bool parse_date(const char *at, int64_t *ret_ns)
{
    struct tm tm = {.tm_isdst = 0};
    int64_t fraction_ns;
    int64_t offset;

    if (!take_digits(&at, 4, YEAR_MAX, &tm.tm_year) || !take_char(&at, '-') ||
        !take_digits(&at, 2, 12, &tm.tm_mon) || !take_char(&at, '-') ||
        !take_digits(&at, 2, 31, &tm.tm_mday) || !take_char(&at, 'T') ||
        !take_digits(&at, 2, 23, &tm.tm_hour) || !take_char(&at, ':') ||
        !take_digits(&at, 2, 59, &tm.tm_min) || !take_char(&at, ':') ||
        !take_digits(&at, 2, 60, &tm.tm_sec) || !take_fraction(&at, &fraction_ns) ||
        !take_offset(&at, &offset) || *at)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int month = tm.tm_mon;
    int leap = tm.tm_sec == 60; /* a leap second; it would carry into the next minute */
    tm.tm_sec -= leap;
    int64_t seconds = timegm(&tm) + leap - offset;
    if (month < 0 || tm.tm_mday == 0 || tm.tm_mon != month || seconds <= 0)
        return false; /* such as February 30, which timegm() takes for a day of March */
    *ret_ns = seconds * SECOND_NS + fraction_ns;
    return true;
}

static bool parse_duration(const char *text, int64_t now_ns, int64_t *ret_ns)
{
    uint64_t seconds;

    if (!duration_parse(text, (uint64_t)((INT64_MAX - now_ns) / SECOND_NS), &seconds))
        return false;
    *ret_ns = now_ns + (int64_t)seconds * SECOND_NS;
    return true;
}

bool when_parse(const char *text, int64_t now_ns, int64_t *ret_ns)
{
    if (strcasecmp(text, "never") == 0) {
        *ret_ns = 0;
        return true;
    }
    return parse_date(text, ret_ns) || parse_duration(text, now_ns, ret_ns);
}

bool when_parse_now(const char *text, int64_t *ret_ns)
{
    return when_parse(text, clock_ns(CLOCK_REALTIME), ret_ns);
}
