/*
 * Text for terminals: escapes byte for byte, which UTF-8 is printable, plain paths, numbers.
 */
#include "helpers.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_escaped(const char *text, const char *expected)
{
    char *escaped = text_escape(text);
    char *printed = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&printed, &len);

    assert_non_null(stream);
    assert_non_null(escaped);
    text_print(stream, text);
    fclose(stream);
    bool same = strcmp(escaped, expected) == 0 && strcmp(printed, expected) == 0;
    bool printable = text_printable(text);
    if (!same)
        print_error("expected '%s'\nescaped  '%s'\nprinted  '%s'\n", expected, escaped, printed);
    free(escaped);
    free(printed);
    assert_true(same);
    assert_int_equal(printable, strcmp(text, expected) == 0);
}

static void test_escapes(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"", ""},
        {"plain", "plain"},
        {" ~!\"'\\%s", " ~!\"'\\%s"},
        {"a\nb\tc\r", "a\\x0ab\\x09c\\x0d"},
        {"\x1b[31mred\x07", "\\x1b[31mred\\x07"},
        {"\x01\x1f\x7f", "\\x01\\x1f\\x7f"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"Gr\xc3\xbc\xc3\x9f"
         "e",
         "Gr\xc3\xbc\xc3\x9f"
         "e"},
        {"\xe2\x82\xac \xf0\x9f\x94\x91", "\xe2\x82\xac \xf0\x9f\x94\x91"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* C1: CSI */
        {"\xc3", "\\xc3"},
        {"\xc3(", "\\xc3("},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xe2\x82\xc3\xbc", "\\xe2\\x82\xc3\xbc"}, /* begins anew after what was cut off */
        {"\xf0\x9f\x94", "\\xf0\\x9f\\x94"},
        {"\x80", "\\x80"},
        {"\xbf\xbf", "\\xbf\\xbf"},
        {"\xc0\xaf", "\\xc0\\xaf"},          /* overlong "/" */
        {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"}, /* the same */
        {"\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_escaped(texts[i][0], texts[i][1]);
}

static void test_every_byte_alone(void **state)
{
    (void)state;
    for (unsigned byte = 1; byte < 256; byte++) {
        char text[4] = {'<', (char)byte, '>', '\0'};
        char expected[8];
        if (byte >= 0x20 && byte < 0x7f)
            strcpy(expected, text);
        else
            snprintf(expected, sizeof expected, "<\\x%02x>", byte);
        assert_escaped(text, expected);
    }
}

/* The UTF-8 of `c`, whether or not it is a character. */
static void encode(unsigned c, char text[5])
{
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    memset(text, 0, 5);
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        text[i] = (char)(0x80 | (c & 0x3f));
    text[0] = (char)(len == 1 ? c : (0xf00u >> len & 0xff) | c);
}

static void test_every_character(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 0x200000; c++) {
        bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
        bool surrogate = c >= 0xd800 && c < 0xe000;
        char text[5];
        encode(c, text);
        if (text_printable(text) != (!control && !surrogate && c <= 0x10ffff))
            fail_msg("U+%04X", c);
    }
}

/* Escaped text is printable, and text that is printable stays as it is. */
static void test_random_bytes(void **state)
{
    (void)state;
    uint64_t random = 4;
    for (int round = 0; round < 20000; round++) {
        char text[16] = "";
        size_t len = next_random(&random) % 15;
        for (size_t i = 0; i < len; i++)
            text[i] = (char)(next_random(&random) % 2 ? 0x80 + next_random(&random) % 128
                                                      : 1 + next_random(&random) % 127);
        char *escaped = text_escape(text);
        assert_non_null(escaped);
        bool printable = text_printable(escaped);
        bool same = strcmp(escaped, text) == 0;
        free(escaped);
        assert_true(printable);
        assert_int_equal(same, text_printable(text));
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const paths[][2] = {
        {"", "/"},
        {"/", "/"},
        {"////", "/"},
        {"a", "a"},
        {"/a", "a"},
        {"a/", "a"},
        {"//a//b///c//", "a/b/c"},
        {"a/b", "a/b"},
        {"./a/..", "./a/.."},
        {" / ", " / "},
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *path = store_plain_path(paths[i][0]);
        assert_non_null(path);
        assert_string_equal(path, paths[i][1]);
        free(path);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        " ",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1x",
                                        "0x1",
                                        "1.0",
                                        "4294967296",
                                        "18446744073709551616",
                                        "99999999999999999999999999",
                                        "\xd9\xa1"};
    uint32_t number = 4711;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(text_number(wrong[i], UINT32_MAX, &number));
    assert_false(text_number("101", 100, &number));
    assert_false(text_number("1", 0, &number));
    assert_int_equal(number, 4711);
    assert_true(text_number("100", 100, &number));
    assert_int_equal(number, 100);
    assert_true(text_number("0", 0, &number));
    assert_int_equal(number, 0);
    assert_true(text_number("4294967295", UINT32_MAX, &number));
    assert_int_equal(number, UINT32_MAX);
    assert_true(text_number("000000000000000000000000007", 7, &number));
    assert_int_equal(number, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_escapes),         plain_test(test_every_byte_alone),
        plain_test(test_every_character), plain_test(test_random_bytes),
        plain_test(test_paths),           plain_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
