/*
 * Durations: what is one and what is not, and what comes back as text.
 */
#include "helpers.h"

#include "duration.h"

#define TEN_YEARS_S 315360000

static void test_right_ones(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
        const char *printed;
    } right[] = {
        {"0s", 0, "0d"},
        {"0d0s", 0, "0d"},
        {"1s", 1, "1s"},
        {"59s", 59, "59s"},
        {"60s", 60, "1m"},
        {"90s", 90, "90s"},
        {"90m", 5400, "90m"},
        {"12h", 43200, "12h"},
        {"24h", 86400, "1d"},
        {"30d", 2592000, "30d"},
        {"0007d", 604800, "7d"},
        {"3650d", TEN_YEARS_S, "3650d"},
        {"87600h", TEN_YEARS_S, "3650d"},
        {"315360000s", TEN_YEARS_S, "3650d"},
        {"0000000315359999s", TEN_YEARS_S - 1, "315359999s"},
        {"00000000000000000000000001s", 1, "1s"},
        {"2w", 1209600, "14d"},
        {"1d12h", 129600, "36h"},
        {"1h30m", 5400, "90m"},
        {"1w1d1h1m1s", 694861, "694861s"},
        {"3649d24h", TEN_YEARS_S, "3650d"},
    };
    char text[DURATION_TEXT];

    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        uint64_t seconds = 0;
        if (!duration_parse(right[i].text, TEN_YEARS_S, &seconds))
            fail_msg("'%s' was refused", right[i].text);
        assert_int_equal(seconds, right[i].seconds);
        duration_print(seconds, text);
        assert_string_equal(text, right[i].printed);
    }
}

static void test_wrong_ones(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "s",     "d",           "1",       "-1s",
        "+1s",        " 1s",   "1s ",         "1 s",     "1.5h",
        "0x1s",       "1y",    "1S",          "1dd",     "2h1d",
        "1h1h",       "1d1",   "3651d",       "3650d1s", "3649d25h",
        "315360001s", "ss",    "4294967296s", "99999d",  "18446744073709551617s",
        "1\xc2\xb5",  "\xd9s",
    };
    uint64_t seconds = 4711;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (duration_parse(wrong[i], TEN_YEARS_S, &seconds))
            fail_msg("'%s' was taken for %llu s", wrong[i], (unsigned long long)seconds);
    assert_int_equal(seconds, 4711);
    assert_false(duration_parse("4294967295d", UINT64_MAX / 1000000, &seconds));
    assert_true(duration_parse("4294967295d", UINT64_MAX, &seconds));
    assert_int_equal(seconds, 4294967295ULL * 86400);
    assert_true(duration_parse("18446744073709551615s", UINT64_MAX, &seconds));
    assert_true(seconds == UINT64_MAX);
    assert_false(duration_parse("18446744073709551616s", UINT64_MAX, &seconds));
    assert_false(duration_parse("1d18446744073709465216s", UINT64_MAX, &seconds));
}

static void test_none_is_printed_too(void **state)
{
    (void)state;
    char text[DURATION_TEXT];

    duration_print(0, text);
    assert_string_equal(text, "0d");
    duration_print(UINT64_MAX, text);
    assert_string_equal(text, "18446744073709551615s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_right_ones),
        plain_test(test_wrong_ones),
        plain_test(test_none_is_printed_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
