/*
 * Values taken out of text: whole, by pieces, at its ends, and not where they are too short.
 */
#include "helpers.h"

#include "mask.h"

#include <string.h>

static void fill(struct secbuf *buf, const char *text)
{
    assert_ok(secbuf_alloc(buf, strlen(text)));
    memcpy(buf->data, text, strlen(text));
    buf->len = strlen(text);
}

/* What is left of `text`; "" where it can't be masked. */
static void assert_masked(const char *text, const char *one, const char *other,
                          const char *expected)
{
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    SECBUF_AUTO struct secbuf first = SECBUF_INIT;
    SECBUF_AUTO struct secbuf second = SECBUF_INIT;
    const struct secbuf *values[] = {&first, &second};

    fill(&buf, text);
    fill(&first, one);
    fill(&second, other);
    assert_int_equal(mask(&buf, values, 2), strcmp(expected, "") != 0 || strcmp(text, "") == 0);
    assert_int_equal(buf.len, strlen(expected));
    assert_memory_equal(buf.data, expected, buf.len);
}

static void test_whole_values(void **state)
{
    (void)state;
    assert_masked("nothing here", "secret", "other", "nothing here");
    assert_masked("a secret, secret", "secret", "", "a ***, ***");
    assert_masked("secretother", "secret", "other", "***");
    assert_masked("secret other", "secret", "other", "*** ***");
    assert_masked("secre", "secret", "", "secre");
    assert_masked("abcd", "abcd", "", "***");
    assert_masked("abcabcdabc", "abcd", "", "abc***abc");
    assert_masked("", "secret", "other", "");
    assert_masked("text", "", "", "text");
    assert_masked("aaaaaaaaaaaaab", "aaaa", "", "***b");
}

static void test_ends_of_values(void **state)
{
    (void)state;
    assert_masked("is secret.", "secret\n", "", "is ***.");
    assert_masked("is secret.", "\t secret \r\n\n", "", "is ***.");
    assert_masked("a b", " \n", "", "a b");
    assert_masked("a b", "", " \n", "a b");
}

static void test_pieces(void **state)
{
    (void)state;
    const char *uri = "postgresql://app:correct-horse@db/app";

    assert_masked("password correct-horse", uri, "", "password ***");
    assert_masked("correct-horse-battery", uri, "", "***-battery");
    assert_masked("correct", uri, "", "correct");  /* seven bytes are any word */
    assert_masked("xxcorrect-", uri, "", "xx***"); /* the text was cut */
    assert_masked("horse@db/app", uri, "", "***");
    assert_masked("line-two-of-key", "line-one-of-key\nline-two-of-key\n", "", "***");
    assert_masked("abcdefgh12345678", "abcdefgh", "12345678", "***");
}

static void test_short_values(void **state)
{
    (void)state;
    assert_masked("abc", "abc", "", "");
    assert_masked("anything", "", "x", "");
    assert_masked("anything", "secret", "xyz\n", "");
    assert_masked("anything", "wxyz\n", "", "anything");
}

static void test_bytes(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf text = SECBUF_INIT;
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    const struct secbuf *values[] = {&value};

    assert_ok(secbuf_alloc(&value, 16));
    memcpy(value.data, "\0\1\2\3\377\0", 6);
    value.len = 6;
    assert_ok(secbuf_alloc(&text, 16));
    memcpy(text.data, "a\0\1\2\3\377\0b", 8);
    text.len = 8;
    assert_true(mask(&text, values, 1));
    assert_int_equal(text.len, 5);
    assert_memory_equal(text.data, "a***b\0\0\0", 8); /* and the rest is wiped */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_whole_values), plain_test(test_ends_of_values), plain_test(test_pieces),
        plain_test(test_short_values), plain_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
