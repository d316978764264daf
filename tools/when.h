/*
 * Points in time as people give them: RFC 3339, a duration from now, or never. Prints nothing; must
 * not know the store.
 */
#ifndef TOOLS_WHEN_H
#define TOOLS_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/* For messages: what when_parse() takes. */
#define WHEN_FORMS "a date such as 2027-01-31T18:00:00Z, a duration such as 30d or 12h, or 'never'"

/*
 * "2027-01-31T18:00:00Z", also with a fraction or an offset such as +01:00; a duration, see
 * duration.h, counted from `now_ns`, which is not before 1970; or "never". From 1970 to 2261.
 * out: ret_ns  0 for never; untouched where it is false
 */
bool when_parse(const char *text, int64_t now_ns, int64_t *ret_ns);

/* The same from the present on. */
bool when_parse_now(const char *text, int64_t *ret_ns);

#endif
