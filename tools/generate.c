/*
 * Random values: characters of an alphabet, each equally likely, or random bytes in an encoding.
 *
 * The intermediate bytes are as secret as the value and live in locked memory too. Knows no command
 * line and no store.
 */
#include "generate.h"

#include "random.h"
#include "text.h"

#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

struct generate_kind {
    const char *name;
    const char *alphabet; /* NULL: encode() */
    bool counted;         /* takes ":N" */
    enum store_err (*encode)(size_t count, struct secbuf *ret_value);
};

static enum store_err encode_base64(size_t count, struct secbuf *ret_value);
static enum store_err encode_uuid(size_t count, struct secbuf *ret_value);

/*
 * The symbols of a password are the "unreserved" ones of RFC 3986: they need no escape in a URL, a
 * connection string or a quoted word of a shell.
 */
static const struct generate_kind kinds[] = {
    {"password", UPPER LOWER DIGITS "-_.~", true, NULL},
    {"alnum", UPPER LOWER DIGITS, true, NULL},
    {"digits", DIGITS, true, NULL},
    {"hex", "0123456789abcdef", true, NULL},
    {"base64", NULL, true, encode_base64},
    {"uuid", NULL, false, encode_uuid},
};

const char generate_notes[] =
    "SPEC, with N from 1 to 4096; no newline is added:\n"
    "  password:N  N characters of A-Z a-z 0-9 - _ . ~, which need no escape in URLs and shells\n"
    "  alnum:N     N characters of A-Z a-z 0-9\n"
    "  digits:N    N characters of 0-9\n"
    "  hex:N       N characters of 0-9 a-f\n"
    "  base64:N    N random bytes in base64, padded: 4 characters for every 3 bytes\n"
    "  uuid        a random UUID (version 4), 36 characters\n";

const char *generate_parse(const char *text, struct generate_spec *ret_spec)
{
    size_t name_len = strcspn(text, ":");
    const struct generate_kind *kind = NULL;
    uint32_t count = 0;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strlen(kinds[i].name) == name_len && memcmp(kinds[i].name, text, name_len) == 0)
            kind = &kinds[i];
    }
    if (!kind)
        return "it is one of password:N, alnum:N, digits:N, hex:N, base64:N, uuid";
    if (!kind->counted && text[name_len] == ':')
        return "a uuid has no length";
    if (kind->counted && text[name_len] != ':')
        return "its length is missing, as in 'password:24'";
    if (kind->counted && (!text_number(text + name_len + 1, GENERATE_MAX, &count) || count == 0))
        return "its length is a number from 1 to 4096";
    *ret_spec = (struct generate_spec){kind, count};
    return NULL;
}

/* A byte that would make the first characters of the alphabet likelier is thrown away. */
static enum store_err pick(const char *alphabet, size_t count, struct secbuf *ret_value)
{
    SECBUF_AUTO struct secbuf pool = SECBUF_INIT;
    size_t size = strlen(alphabet);
    size_t fair = 256 - 256 % size;
    size_t used = 0;
    enum store_err err = secbuf_alloc(ret_value, count);

    if (err == STORE_OK)
        err = random_alloc(&pool, 256);
    while (err == STORE_OK && ret_value->len < count) {
        if (used == pool.len) {
            err = random_refill(&pool);
            used = 0;
        }
        if (err == STORE_OK && pool.data[used] < fair)
            ret_value->data[ret_value->len++] = (unsigned char)alphabet[pool.data[used] % size];
        used++;
    }
    return err;
}

static enum store_err encode_base64(size_t count, struct secbuf *ret_value)
{
    static const char alphabet[] = UPPER LOWER DIGITS "+/";
    SECBUF_AUTO struct secbuf bytes = SECBUF_INIT;
    enum store_err err = random_alloc(&bytes, count);

    if (err == STORE_OK)
        err = secbuf_alloc(ret_value, (count + 2) / 3 * 4);
    for (size_t at = 0; err == STORE_OK && at < count; at += 3) {
        size_t left = count - at;
        unsigned group = (unsigned)bytes.data[at] << 16;
        unsigned char *out = ret_value->data + ret_value->len;
        if (left > 1)
            group |= (unsigned)bytes.data[at + 1] << 8;
        if (left > 2)
            group |= bytes.data[at + 2];
        out[0] = (unsigned char)alphabet[group >> 18 & 63];
        out[1] = (unsigned char)alphabet[group >> 12 & 63];
        out[2] = (unsigned char)(left > 1 ? alphabet[group >> 6 & 63] : '=');
        out[3] = (unsigned char)(left > 2 ? alphabet[group & 63] : '=');
        ret_value->len += 4;
    }
    return err;
}

/* RFC 9562, version 4: the version and the variant are fixed, 122 bits are random. */
static enum store_err encode_uuid(size_t count, struct secbuf *ret_value)
{
    static const char digits[] = "0123456789abcdef";
    SECBUF_AUTO struct secbuf bytes = SECBUF_INIT;
    enum store_err err = random_alloc(&bytes, 16);

    (void)count;
    if (err == STORE_OK)
        err = secbuf_alloc(ret_value, 36);
    if (err != STORE_OK)
        return err;
    bytes.data[6] = (unsigned char)((bytes.data[6] & 0x0f) | 0x40);
    bytes.data[8] = (unsigned char)((bytes.data[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            ret_value->data[ret_value->len++] = '-';
        ret_value->data[ret_value->len++] = (unsigned char)digits[bytes.data[i] >> 4];
        ret_value->data[ret_value->len++] = (unsigned char)digits[bytes.data[i] & 15];
    }
    return STORE_OK;
}

enum store_err generate_value(const struct generate_spec *spec, struct secbuf *ret_value)
{
    if (spec->kind->alphabet)
        return pick(spec->kind->alphabet, spec->count, ret_value);
    return spec->kind->encode(spec->count, ret_value);
}
