/*
 * Points in time: dates against timegm(3) and known ones, durations, and what is refused.
 */
#include "helpers.h"
#include "when.h"

#include <stdio.h>
#include <time.h>

#define S INT64_C(1000000000)

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"1970-01-01T00:00:01Z", S},
        {"2000-02-29T12:30:45Z", 951827445 * S},
        {"2027-01-31t18:00:00z", 1801418400 * S},
        {"2027-01-31T18:00:00+01:00", 1801414800 * S},
        {"2027-01-31T18:00:00-23:59", (1801418400 + 86340) * S},
        {"2027-01-31T18:00:00.25Z", 1801418400 * S + 250000000},
        {"2027-01-31T18:00:00.0000000019Z", 1801418400 * S + 1},
        {"2016-12-31T23:59:60Z", 1483228800 * S},
        {"2261-12-31T23:59:59.999999999Z", 9214646399 * S + 999999999},
        {"never", 0},
        {"Never", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = -1;
        if (!when_parse(cases[i].text, 5, &ns))
            fail_msg("%s is refused", cases[i].text);
        assert_true(ns == cases[i].ns);
    }
}

static void test_every_day(void **state)
{
    (void)state;
    for (time_t day = 1; day < 106000; day += 13) {
        time_t seconds = day * 86400;
        struct tm tm;
        char text[64];
        int64_t ns = 0;
        gmtime_r(&seconds, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_true(when_parse(text, 0, &ns));
        assert_true(ns == seconds * S);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        {"0s", 0},         {"90s", 90},
        {"5m", 300},       {"12h", 43200},
        {"30d", 2592000},  {"2w", 1209600},
        {"1d12h", 129600}, {"1w1d1h1m1s", 694861},
        {"007s", 7},       {"9000000000s", INT64_C(9000000000)},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = -1;
        if (!when_parse(cases[i].text, 17, &ns))
            fail_msg("%s is refused", cases[i].text);
        assert_true(ns == 17 + cases[i].seconds * S);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        " ",
        "now",
        "nevermore",
        "30",
        "d",
        "-1d",
        "+1d",
        "1.5h",
        "1 d",
        "1d ",
        "1y",
        "1h1d",
        "1h1h",
        "9223372037s",
        "99999999999999999999999s",
        "15250284453w",
        "2027-01-31",
        "2027-01-31T18:00Z",
        "2027-01-31T18:00:00",
        "2027-01-31T18:00:00.Z",
        "2027-01-31T18:00:00Zx",
        "2027-01-31T18:00:00+1:00",
        "2027-01-31T18:00:00+01:60",
        "2027-01-31 18:00:00Z",
        "2027-02-29T00:00:00Z",
        "2027-00-01T00:00:00Z",
        "2027-13-01T00:00:00Z",
        "2027-01-00T00:00:00Z",
        "2027-01-32T00:00:00Z",
        "2027-01-31T24:00:00Z",
        "2027-01-31T00:60:00Z",
        "2027-01-31T00:00:61Z",
        "2262-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "0000-00-00T00:00:00Z",
    };
    int64_t ns = 4711;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (when_parse(wrong[i], 1800000000 * S, &ns))
            fail_msg("'%s' is taken", wrong[i]);
    assert_true(ns == 4711);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_dates),
        plain_test(test_every_day),
        plain_test(test_durations),
        plain_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
