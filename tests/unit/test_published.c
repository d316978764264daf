/*
 * The primitives of FORMAT.md give the answers that their authors published, by the calls that
 * seal.c and keyslot.c make. The answers of tests/vectors are our own; generate.py, which makes
 * them, is held to the same ones.
 */
#include "helpers.h"

#include <sodium.h>
#include <string.h>

static void hex(const char *text, unsigned char *out, size_t len)
{
    size_t found;
    assert_int_equal(sodium_hex2bin(out, len, text, strlen(text), NULL, &found, NULL), 0);
    assert_int_equal(found, len);
}

static void assert_hex(const unsigned char *bytes, size_t len, const char *text)
{
    unsigned char expected[256];
    hex(text, expected, len);
    assert_memory_equal(bytes, expected, len);
}

/* draft-irtf-cfrg-xchacha-03, appendix A.3.1 */
static void test_xchacha20_poly1305(void **state)
{
    (void)state;
    static const char plain[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                                "only one tip for the future, sunscreen would be it.";
    unsigned char key[32];
    unsigned char nonce[24];
    unsigned char ad[12];
    unsigned char buf[sizeof plain - 1];
    unsigned char tag[16];

    hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", key, sizeof key);
    hex("404142434445464748494a4b4c4d4e4f5051525354555657", nonce, sizeof nonce);
    hex("50515253c0c1c2c3c4c5c6c7", ad, sizeof ad);
    memcpy(buf, plain, sizeof buf);
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(buf, tag, NULL, buf, sizeof buf, ad,
                                                        sizeof ad, NULL, nonce, key);
    assert_hex(buf, sizeof buf,
               "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
               "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
               "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
               "21f9664c97637da9768812f615c68b13b52e");
    assert_hex(tag, sizeof tag, "c0875924c1c7987947deafd8780acf49");
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                         buf, NULL, buf, sizeof buf, tag, ad, sizeof ad, nonce, key),
                     0);
    assert_memory_equal(buf, plain, sizeof buf);
    ad[0] ^= 1;
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                         buf, NULL, buf, sizeof buf, tag, ad, sizeof ad, nonce, key),
                     -1);
}

/* RFC 7693, appendix A; and the first keyed one of the BLAKE2 authors' blake2b-kat.txt. */
static void test_blake2b(void **state)
{
    (void)state;
    unsigned char hash[64];
    unsigned char key[64];
    crypto_generichash_state stream;

    crypto_generichash(hash, sizeof hash, (const unsigned char *)"abc", 3, NULL, 0);
    assert_hex(hash, sizeof hash,
               "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
               "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)i;
    crypto_generichash_init(&stream, key, sizeof key, sizeof hash);
    crypto_generichash_final(&stream, hash, sizeof hash);
    assert_hex(hash, sizeof hash,
               "10ebb67700b1868efb4417987acf4690ae9d972fb7a590c2f02871799aaa4786"
               "b5e996e8f0f4eb981fc214b005f42d2ff4233499391653df7aefcbc13fc51568");
}

/* src/test.c of https://github.com/P-H-C/phc-winner-argon2, version 0x13, one lane. RFC 9106 has
 * one of four lanes only. */
static void test_argon2id(void **state)
{
    (void)state;
    static const char encoded[crypto_pwhash_STRBYTES] =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ"
        "$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert_int_equal(crypto_pwhash_str_verify(encoded, "password", 8), 0);
    assert_int_equal(crypto_pwhash_str_verify(encoded, "passwore", 8), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_xchacha20_poly1305),
        plain_test(test_blake2b),
        plain_test(test_argon2id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
