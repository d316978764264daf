/*
 * X25519 key pairs and their text. See recipient.h, and RFC 7748 for the curve.
 */
#include "recipient.h"
#include "fault.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CHECKSUM_BYTES 4
#define CODED_BYTES (RECIPIENT_KEY_BYTES + CHECKSUM_BYTES)
#define CODED_CHARS 48 /* base64 without padding; nothing is left over: one form only */
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING

_Static_assert(CODED_BYTES * 4 == CODED_CHARS * 3, "whole groups of base64");

enum store_err recipient_new_identity(struct secbuf *ret_identity)
{
    enum store_err err = secbuf_alloc(ret_identity, RECIPIENT_KEY_BYTES);

    if (err)
        return err;
    randombytes_buf(ret_identity->data, RECIPIENT_KEY_BYTES);
    ret_identity->len = RECIPIENT_KEY_BYTES;
    return STORE_OK;
}

enum store_err recipient_of(const struct secbuf *identity,
                            unsigned char ret_key[static RECIPIENT_KEY_BYTES])
{
    if (identity->len != RECIPIENT_KEY_BYTES)
        return fault(STORE_ERR_INVALID, "use", "the identity", "it must be 32 bytes long");
    crypto_scalarmult_base(ret_key, identity->data);
    return STORE_OK;
}

/* Below 2^255 - 19, little-endian. */
bool recipient_valid(const unsigned char key[static RECIPIENT_KEY_BYTES])
{
    if (key[RECIPIENT_KEY_BYTES - 1] != 0x7f)
        return key[RECIPIENT_KEY_BYTES - 1] < 0x7f;
    for (size_t i = 1; i < RECIPIENT_KEY_BYTES - 1; i++)
        if (key[i] != 0xff)
            return true;
    return key[0] < 0xed;
}

/* ---- Text ----------------------------------------------------------------- */

static void checksum(const char *prefix, const unsigned char *key,
                     unsigned char ret_sum[CHECKSUM_BYTES])
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const unsigned char *)prefix, strlen(prefix));
    crypto_generichash_update(&state, key, RECIPIENT_KEY_BYTES);
    crypto_generichash_final(&state, hash, sizeof hash);
    memcpy(ret_sum, hash, CHECKSUM_BYTES);
    sodium_memzero(&state, sizeof state);
}

/* in/out: coded  begins with the key; out: text  with a NUL at its end */
static void print(const char *prefix, unsigned char coded[CODED_BYTES], char *text)
{
    size_t at = (size_t)snprintf(text, strlen(prefix) + 1, "%s", prefix);

    checksum(prefix, coded, coded + RECIPIENT_KEY_BYTES);
    sodium_bin2base64(text + at, CODED_CHARS + 1, coded, CODED_BYTES, BASE64);
}

static bool begins_with(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

/* Why `text` is none; NULL where it is one. out: coded  begins with the key */
static const char *parse(const char *prefix, const char *text, size_t len,
                         unsigned char coded[CODED_BYTES])
{
    unsigned char sum[CHECKSUM_BYTES];
    size_t at = strlen(prefix);
    size_t coded_len = 0;

    if (len != at + CODED_CHARS)
        return "it has too few or too many characters";
    if (sodium_base642bin(coded, CODED_BYTES, text + at, CODED_CHARS, NULL, &coded_len, NULL,
                          BASE64) != 0 ||
        coded_len != CODED_BYTES)
        return "it has characters that do not belong there";
    checksum(prefix, coded, sum);
    return sodium_memcmp(sum, coded + RECIPIENT_KEY_BYTES, CHECKSUM_BYTES) == 0
               ? NULL
               : "it is mistyped: its checksum is wrong";
}

void recipient_print(const unsigned char key[static RECIPIENT_KEY_BYTES],
                     char ret_text[static RECIPIENT_TEXT_BYTES])
{
    unsigned char coded[CODED_BYTES];

    memcpy(coded, key, RECIPIENT_KEY_BYTES);
    print(RECIPIENT_PREFIX, coded, ret_text);
}

enum store_err recipient_parse(const char *text, unsigned char ret_key[static RECIPIENT_KEY_BYTES])
{
    unsigned char coded[CODED_BYTES] = {0};
    size_t len = strlen(text);
    const char *reason;

    if (begins_with(text, len, RECIPIENT_IDENTITY_PREFIX))
        reason = "it is an identity, which is secret; its public key is needed";
    else if (!begins_with(text, len, RECIPIENT_PREFIX))
        reason = "it does not begin with '" RECIPIENT_PREFIX "'";
    else
        reason = parse(RECIPIENT_PREFIX, text, len, coded);
    if (!reason && !recipient_valid(coded))
        reason = "it is no such key";
    if (reason)
        return fault(STORE_ERR_INVALID, "read", "the public key", reason);
    memcpy(ret_key, coded, RECIPIENT_KEY_BYTES);
    return STORE_OK;
}

enum store_err recipient_print_identity(const struct secbuf *identity, struct secbuf *ret_text)
{
    SECBUF_AUTO struct secbuf coded = SECBUF_INIT;
    enum store_err err = secbuf_alloc(&coded, CODED_BYTES);

    if (!err)
        err = secbuf_alloc(ret_text, RECIPIENT_IDENTITY_LEN + 1);
    if (err)
        return err;
    memcpy(coded.data, identity->data, RECIPIENT_KEY_BYTES);
    print(RECIPIENT_IDENTITY_PREFIX, coded.data, (char *)ret_text->data);
    ret_text->len = RECIPIENT_IDENTITY_LEN;
    return STORE_OK;
}

enum store_err recipient_parse_identity(const struct secbuf *text, struct secbuf *ret_identity)
{
    SECBUF_AUTO struct secbuf coded = SECBUF_INIT;
    const char *bytes = (const char *)text->data;
    const char *reason = "it does not begin with '" RECIPIENT_IDENTITY_PREFIX "'";
    enum store_err err = secbuf_alloc(&coded, CODED_BYTES);

    if (err)
        return err;
    if (begins_with(bytes, text->len, RECIPIENT_IDENTITY_PREFIX))
        reason = parse(RECIPIENT_IDENTITY_PREFIX, bytes, text->len, coded.data);
    if (reason)
        return fault(STORE_ERR_INVALID, "read", "the identity", reason);
    err = secbuf_alloc(ret_identity, RECIPIENT_KEY_BYTES);
    if (err)
        return err;
    memcpy(ret_identity->data, coded.data, RECIPIENT_KEY_BYTES);
    ret_identity->len = RECIPIENT_KEY_BYTES;
    return STORE_OK;
}
