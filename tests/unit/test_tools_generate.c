/*
 * Random values to order. getrandom() is replaced, so that it can be made to give known bytes, few
 * of them, or none.
 */
#include "generate.h"
#include "helpers.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define BASE64 UPPER LOWER DIGITS "+/"

ssize_t __real_getrandom(void *bytes, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags);

enum source { REAL, KNOWN, DRIBBLE, FAIL };
static enum source source;
static unsigned char known[256]; /* KNOWN: over and over */
static size_t known_len;
static size_t known_at;
static unsigned calls;

ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags)
{
    unsigned char *out = bytes;

    calls++;
    switch (source) {
    case REAL:
        break;
    case KNOWN:
        for (size_t i = 0; i < len; i++)
            out[i] = known[known_at++ % known_len];
        return (ssize_t)len;
    case DRIBBLE: /* a signal, or a byte at a time */
        if (calls % 2 == 0) {
            errno = EINTR;
            return -1;
        }
        return __real_getrandom(bytes, 1, flags);
    case FAIL:
        errno = ENOSYS;
        return -1;
    }
    return __real_getrandom(bytes, len, flags);
}

static int setup(void **state)
{
    source = REAL;
    calls = 0;
    return buffers_setup(state);
}

#define generate_test(f) cmocka_unit_test_setup_teardown(f, setup, buffers_teardown)

static void give_known(const void *bytes, size_t len)
{
    source = KNOWN;
    memcpy(known, bytes, len);
    known_len = len;
    known_at = 0;
}

static struct generate_spec parse(const char *text)
{
    struct generate_spec spec = {0};
    const char *problem = generate_parse(text, &spec);
    if (problem)
        fail_msg("'%s': %s", text, problem);
    return spec;
}

/* Text for tests only: nobody's secret. */
static void generate(const char *text, char *ret_text, size_t room)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct generate_spec spec = parse(text);
    assert_ok(generate_value(&spec, &value));
    assert_true(value.len < room);
    memcpy(ret_text, value.data, value.len);
    ret_text[value.len] = '\0';
}

static const struct {
    const char *name;
    const char *alphabet;
    /* The statistic's 1 - 6e-16 quantile, by Wilson and Hilferty's formula: true randomness is
     * beyond it once in 10^15 runs. A bias of the size that `byte % letters` has is beyond it by
     * far. */
    double chi_square_max;
} kinds[] = {
    {"password", UPPER LOWER DIGITS "-_.~", 204.1},
    {"alnum", UPPER LOWER DIGITS, 197.4},
    {"digits", DIGITS, 100.1},
    {"hex", "0123456789abcdef", 112.8},
};

static void test_alphabets_and_lengths(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, 31, 255, 256, 257, 1000, 4095, 4096};
    char spec[32];
    char text[4200];

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            snprintf(spec, sizeof spec, "%s:%zu", kinds[k].name, counts[i]);
            generate(spec, text, sizeof text);
            assert_int_equal(strlen(text), counts[i]);
            assert_int_equal(strspn(text, kinds[k].alphabet), counts[i]);
        }
    }
}

static double chi_square(const char *spec, const char *alphabet)
{
    size_t counts[256] = {0};
    size_t total = 0;
    size_t letters = strlen(alphabet);
    double sum = 0;
    char text[4200];

    for (int i = 0; i < 200; i++) {
        generate(spec, text, sizeof text);
        for (const char *s = text; *s; s++, total++)
            counts[(unsigned char)*s]++;
    }
    double expected = (double)total / (double)letters;
    for (size_t i = 0; i < letters; i++) {
        double off = (double)counts[(unsigned char)alphabet[i]] - expected;
        sum += off * off / expected;
    }
    return sum;
}

static void test_every_letter_equally_likely(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        char spec[32];
        snprintf(spec, sizeof spec, "%s:4096", kinds[k].name);
        double found = chi_square(spec, kinds[k].alphabet);
        if (found > kinds[k].chi_square_max || found <= 0)
            fail_msg("%s: chi-square is %f", kinds[k].name, found);
    }
    double found = chi_square("base64:3072", BASE64);
    if (found > 200.8 || found <= 0)
        fail_msg("base64: chi-square is %f", found);
}

static void test_no_two_are_the_same(void **state)
{
    (void)state;
    static const char *const specs[] = {"password:24", "hex:32", "base64:16", "uuid", "digits:40"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        char text[20][64];
        for (size_t n = 0; n < 20; n++) {
            generate(specs[i], text[n], sizeof text[n]);
            for (size_t other = 0; other < n; other++)
                assert_string_not_equal(text[n], text[other]);
        }
    }
}

/* Bytes above the last full round of the alphabet are left out. */
static void test_known_bytes(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0, 1, 61, 62, 65, 66, 197, 198, 247, 248, 249, 250, 255};
    static const char *const expected[][2] = {
        {"password:16", "AB9-~A~AB9-~A~AB"}, /* 66 letters: bytes below 198 */
        {"alnum:18", "AB9ADELM9AB9ADELM9"},  /* 62: below 248 */
        {"digits:12", "011256787890"},       /* 10: below 250 */
        {"hex:13", "01de1256789af"},         /* 16: all */
    };
    char text[601];

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        give_known(bytes, sizeof bytes);
        generate(expected[i][0], text, sizeof text);
        assert_string_equal(text, expected[i][1]);
    }
    give_known(bytes, sizeof bytes);
    generate("hex:600", text, sizeof text); /* not one of them is lost where more are fetched */
    for (size_t i = 0; i < 600; i++)
        assert_int_equal(text[i], "0123456789abcdef"[bytes[i % sizeof bytes] % 16]);
}

static void test_base64(void **state)
{
    (void)state;
    /* RFC 4648, section 10. */
    static const char *const vectors[][2] = {
        {"f", "Zg=="},        {"fo", "Zm8="},        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
    };
    char spec[32];
    char text[6000];
    unsigned char bytes[GENERATE_MAX];

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        size_t len = strlen(vectors[i][0]);
        give_known(vectors[i][0], len);
        snprintf(spec, sizeof spec, "base64:%zu", len);
        generate(spec, text, sizeof text);
        assert_string_equal(text, vectors[i][1]);
    }
    for (size_t i = 0; i < 256; i++)
        known[i] = (unsigned char)(i * 7 + 3);
    for (size_t len = 1; len <= GENERATE_MAX; len += len < 20 || len > 4090 ? 1 : 37) {
        size_t back = 0;
        source = KNOWN;
        known_len = 256;
        known_at = 0;
        snprintf(spec, sizeof spec, "base64:%zu", len);
        generate(spec, text, sizeof text);
        assert_int_equal(strlen(text), (len + 2) / 3 * 4);
        assert_int_equal(sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &back,
                                           NULL, sodium_base64_VARIANT_ORIGINAL),
                         0);
        assert_int_equal(back, len);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(bytes[i], known[i % 256]);
    }
}

static void test_uuid(void **state)
{
    (void)state;
    enum { COUNT = 4096, BITS = 128 };
    unsigned ones[BITS] = {0};
    unsigned char bytes[16];
    char text[64];

    for (unsigned i = 0; i < COUNT; i++) {
        size_t len = 0;
        generate("uuid", text, sizeof text);
        assert_int_equal(strlen(text), 36);
        assert_int_equal(strspn(text, "0123456789abcdef-"), 36);
        for (size_t at = 0; at < 36; at++)
            assert_int_equal(text[at] == '-', at == 8 || at == 13 || at == 18 || at == 23);
        assert_int_equal(text[14], '4');           /* version */
        assert_non_null(strchr("89ab", text[19])); /* variant */
        assert_int_equal(sodium_hex2bin(bytes, 16, text, 36, "-", &len, NULL), 0);
        assert_int_equal(len, 16);
        for (unsigned bit = 0; bit < BITS; bit++)
            ones[bit] += bytes[bit / 8] >> (7 - bit % 8) & 1u;
    }
    for (unsigned bit = 0; bit < BITS; bit++) {
        if (bit >= 48 && bit < 52)
            assert_int_equal(ones[bit], bit == 49 ? COUNT : 0);
        else if (bit >= 64 && bit < 66)
            assert_int_equal(ones[bit], bit == 64 ? COUNT : 0);
        else /* within nine standard deviations */
            assert_in_range(ones[bit], COUNT / 2 - 288, COUNT / 2 + 288);
    }
    give_known("\xff", 1);
    generate("uuid", text, sizeof text);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    give_known("", 1);
    generate("uuid", text, sizeof text);
    assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
    give_known("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    generate("uuid", text, sizeof text);
    assert_string_equal(text, "00112233-4455-4677-8899-aabbccddeeff");
}

static const char *const all_specs[] = {"password:300", "alnum:300",  "digits:300",
                                        "hex:300",      "base64:300", "uuid"};

static void test_bytes_that_come_slowly(void **state)
{
    (void)state;
    char text[600];
    source = DRIBBLE;
    for (size_t i = 0; i < sizeof all_specs / sizeof all_specs[0]; i++) {
        generate(all_specs[i], text, sizeof text);
        assert_int_equal(strlen(text), i < 4 ? 300 : i == 4 ? 400 : 36);
    }
    assert_true(calls > 1000);
}

static void test_no_random_bytes(void **state)
{
    (void)state;
    source = FAIL;
    for (size_t i = 0; i < sizeof all_specs / sizeof all_specs[0]; i++) {
        SECBUF_AUTO struct secbuf value = SECBUF_INIT;
        struct generate_spec spec = parse(all_specs[i]);
        assert_int_equal(generate_value(&spec, &value), STORE_ERR_IO);
        assert_int_equal(value.len, 0);
    }
}

#define KINDS "it is one of password:N, alnum:N, digits:N, hex:N, base64:N, uuid"
#define MISSING "its length is missing, as in 'password:24'"
#define BOUNDS "its length is a number from 1 to 4096"

static void test_bad_specs(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", KINDS},
        {":", KINDS},
        {":24", KINDS},
        {"24", KINDS},
        {"Password:24", KINDS},
        {"passwor:24", KINDS},
        {"passwords:24", KINDS},
        {" hex:4", KINDS},
        {"hex :4", KINDS},
        {"uuid4", KINDS},
        {"base32:4", KINDS},
        {"password", MISSING},
        {"base64", MISSING},
        {"hex:", BOUNDS},
        {"hex:0", BOUNDS},
        {"hex:000", BOUNDS},
        {"hex:4097", BOUNDS},
        {"hex:-1", BOUNDS},
        {"hex:+1", BOUNDS},
        {"hex: 1", BOUNDS},
        {"hex:1 ", BOUNDS},
        {"hex:1:2", BOUNDS},
        {"hex:0x10", BOUNDS},
        {"hex:4294967297", BOUNDS},
        {"hex:18446744073709551617", BOUNDS},
        {"uuid:", "a uuid has no length"},
        {"uuid:4", "a uuid has no length"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct generate_spec spec = {.count = 4711};
        const char *problem = generate_parse(bad[i][0], &spec);
        assert_non_null(problem);
        assert_string_equal(problem, bad[i][1]);
        assert_int_equal(spec.count, 4711);
        assert_null(spec.kind);
    }
    assert_int_equal(parse("hex:1").count, 1);
    assert_int_equal(parse("hex:0001").count, 1);
    assert_int_equal(parse("hex:4096").count, GENERATE_MAX);
}

static void test_help(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        char word[32];
        snprintf(word, sizeof word, "  %s:N ", kinds[k].name);
        assert_non_null(strstr(generate_notes, word));
    }
    assert_non_null(strstr(generate_notes, "  base64:N "));
    assert_non_null(strstr(generate_notes, "  uuid "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        generate_test(test_alphabets_and_lengths),
        generate_test(test_every_letter_equally_likely),
        generate_test(test_no_two_are_the_same),
        generate_test(test_known_bytes),
        generate_test(test_base64),
        generate_test(test_uuid),
        generate_test(test_bytes_that_come_slowly),
        generate_test(test_no_random_bytes),
        generate_test(test_bad_specs),
        generate_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
