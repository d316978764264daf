/*
 * XChaCha20-Poly1305 over padded records; BLAKE2b, keyed, over names and rows.
 *
 * The multiset hash is MSet-VAdd-Hash with a secret key (Clarke, Devadas, van Dijk, Gassend, Suh:
 * "Incremental Multiset Hash Functions", 2003): whoever has no key sees neither a row's hash nor
 * the sum, so 128 bits leave them a chance of 2^-128 for each store they make up.
 */
#include "seal.h"
#include "bytes.h"
#include "fault.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define PADDING_FLOOR 256
#define PADDING_MARK 0x80
#define KDF_CONTEXT "secretfs"

enum subkey {
    SUBKEY_RECORD = 1,
    SUBKEY_LOOKUP = 2,
    SUBKEY_ROW = 3,
    SUBKEY_ROOT = 4,
    SUBKEY_ANCHOR = 5,
    SUBKEY_AUDIT = 6,
    SUBKEY_COUNT = 6
};

static const unsigned char *subkey(const struct seal_keys *keys, enum subkey which)
{
    return keys->keys.data + ((size_t)which - 1) * STORE_KEY_BYTES;
}

enum store_err seal_keys_derive(struct seal_keys *keys, const struct secbuf *root_key,
                                const unsigned char uuid[STORE_UUID_BYTES])
{
    enum store_err err = secbuf_alloc(&keys->keys, SUBKEY_COUNT * STORE_KEY_BYTES);
    if (err)
        return err;
    assert(root_key->len == crypto_kdf_KEYBYTES);
    for (unsigned i = 0; i < SUBKEY_COUNT; i++)
        crypto_kdf_derive_from_key(keys->keys.data + i * STORE_KEY_BYTES, STORE_KEY_BYTES, i + 1,
                                   KDF_CONTEXT, root_key->data);
    keys->keys.len = keys->keys.capacity;
    memcpy(keys->uuid, uuid, STORE_UUID_BYTES);
    return STORE_OK;
}

void seal_keys_release(struct seal_keys *keys)
{
    secbuf_release(&keys->keys);
}

/* Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", 2019). */
static size_t padme(size_t len)
{
    unsigned e = 63 - (unsigned)__builtin_clzll(len);
    unsigned s = 64 - (unsigned)__builtin_clzll(e);
    size_t mask = ((size_t)1 << (e - s)) - 1;
    return (len + mask) & ~mask;
}

size_t seal_padded_len(size_t len)
{
    size_t marked = len + 1; /* the padding always has its 0x80 byte */
    return marked <= PADDING_FLOOR ? PADDING_FLOOR : padme(marked);
}

#define AD_BYTES (1 + STORE_UUID_BYTES + 1 + 8)

static void additional_data(const struct seal_keys *keys, enum table table, uint64_t id,
                            unsigned char ad[AD_BYTES])
{
    ad[0] = STORE_FORMAT;
    memcpy(ad + 1, keys->uuid, STORE_UUID_BYTES);
    ad[1 + STORE_UUID_BYTES] = (unsigned char)table;
    put_le(ad + 2 + STORE_UUID_BYTES, id, 8);
}

size_t seal_close(const struct seal_keys *keys, enum table table, uint64_t id, unsigned char *buf,
                  size_t len, unsigned char ret_seal[ROW_SEAL_BYTES])
{
    unsigned char *nonce = ret_seal;
    unsigned char *tag = ret_seal + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    unsigned char ad[AD_BYTES];
    size_t padded = seal_padded_len(len);

    buf[len] = PADDING_MARK;
    memset(buf + len + 1, 0, padded - len - 1);
    additional_data(keys, table, id, ad);
    randombytes_buf(nonce, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(buf, tag, NULL, buf, padded, ad, sizeof ad,
                                                        NULL, nonce, subkey(keys, SUBKEY_RECORD));
    return padded;
}

/* sodium_unpad() takes the same time wherever the mark is, which costs a millisecond for the
 * largest value; what is unpadded here is authentic, and its size is no secret to whoever could
 * measure. */
static bool unpad(const unsigned char *buf, size_t padded, size_t *ret_len)
{
    size_t len = padded;
    while (len > 0 && buf[len - 1] == 0)
        len--;
    if (len == 0 || buf[len - 1] != PADDING_MARK || seal_padded_len(len - 1) != padded)
        return false;
    *ret_len = len - 1;
    return true;
}

enum store_err seal_open(const struct seal_keys *keys, enum table table, const struct row *row,
                         unsigned char *buf, size_t *ret_len)
{
    const unsigned char *tag = row->seal + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    unsigned char ad[AD_BYTES];

    additional_data(keys, table, row->id, ad);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(buf, NULL, row->box, row->box_len, tag,
                                                            ad, sizeof ad, row->seal,
                                                            subkey(keys, SUBKEY_RECORD)) != 0)
        return fault_row(STORE_ERR_INTEGRITY, "open", table_name(table), row->id,
                         "its seal is broken");
    if (!unpad(buf, row->box_len, ret_len)) {
        sodium_memzero(buf, row->box_len);
        return fault_row(STORE_ERR_INTEGRITY, "open", table_name(table), row->id,
                         "its padding is wrong");
    }
    return STORE_OK;
}

void seal_lookup_hash(const struct seal_keys *keys, uint64_t parent, const char *name,
                      size_t name_len, uint64_t deleted_id,
                      unsigned char ret_hash[ROW_LOOKUP_BYTES])
{
    unsigned char head[16];
    crypto_generichash_state state;

    put_le(head, parent, 8);
    put_le(head + 8, deleted_id, 8);
    crypto_generichash_init(&state, subkey(keys, SUBKEY_LOOKUP), STORE_KEY_BYTES, ROW_LOOKUP_BYTES);
    crypto_generichash_update(&state, head, sizeof head);
    crypto_generichash_update(&state, (const unsigned char *)name, name_len);
    crypto_generichash_final(&state, ret_hash, ROW_LOOKUP_BYTES);
    sodium_memzero(&state, sizeof state);
}

struct multiset seal_row_hash(const struct seal_keys *keys, enum table table, const struct row *row)
{
    unsigned char head[1 + 8 + 8 + ROW_LOOKUP_BYTES + ROW_SEAL_BYTES];
    unsigned char hash[16];
    crypto_generichash_state state;
    size_t len = 17;

    head[0] = (unsigned char)table;
    put_le(head + 1, row->id, 8);
    put_le(head + 9, row->generation, 8);
    if (row->lookup) {
        memcpy(head + len, row->lookup, ROW_LOOKUP_BYTES);
        len += ROW_LOOKUP_BYTES;
    }
    if (row->seal) {
        memcpy(head + len, row->seal, ROW_SEAL_BYTES);
        len += ROW_SEAL_BYTES;
    }
    crypto_generichash_init(&state, subkey(keys, SUBKEY_ROW), STORE_KEY_BYTES, sizeof hash);
    crypto_generichash_update(&state, head, len);
    if (table == TABLE_SLOT)
        crypto_generichash_update(&state, row->box, row->box_len);
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_memzero(&state, sizeof state);
    return (struct multiset){{get_le(hash, 8), get_le(hash + 8, 8)}};
}

void seal_root_hash(const struct seal_keys *keys, const unsigned char *record, size_t len,
                    unsigned char ret_hash[SEAL_ROOT_HASH_BYTES])
{
    crypto_generichash(ret_hash, SEAL_ROOT_HASH_BYTES, record, len, subkey(keys, SUBKEY_ROOT),
                       STORE_KEY_BYTES);
}

void seal_anchor_mac(const struct seal_keys *keys, const unsigned char *bytes, size_t len,
                     unsigned char ret_mac[SEAL_MAC_BYTES])
{
    crypto_generichash(ret_mac, SEAL_MAC_BYTES, bytes, len, subkey(keys, SUBKEY_ANCHOR),
                       STORE_KEY_BYTES);
}

void seal_audit_hash_under(const unsigned char *key, const unsigned char state[SEAL_AUDIT_BYTES],
                           const void *bytes, size_t len, unsigned char ret_hash[SEAL_AUDIT_BYTES])
{
    crypto_generichash_state hash;

    crypto_generichash_init(&hash, key, STORE_KEY_BYTES, SEAL_AUDIT_BYTES);
    crypto_generichash_update(&hash, state, SEAL_AUDIT_BYTES);
    crypto_generichash_update(&hash, bytes, len);
    crypto_generichash_final(&hash, ret_hash, SEAL_AUDIT_BYTES);
    sodium_memzero(&hash, sizeof hash);
}

void seal_audit_hash(const struct seal_keys *keys, const unsigned char state[SEAL_AUDIT_BYTES],
                     const void *bytes, size_t len, unsigned char ret_hash[SEAL_AUDIT_BYTES])
{
    seal_audit_hash_under(subkey(keys, SUBKEY_AUDIT), state, bytes, len, ret_hash);
}

void seal_audit_key(const struct seal_keys *keys, unsigned char *ret_key)
{
    memcpy(ret_key, subkey(keys, SUBKEY_AUDIT), STORE_KEY_BYTES);
}

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

void seal_audit_wrap(const struct seal_keys *keys, const unsigned char *key,
                     unsigned char ret_box[SEAL_AUDIT_BOX_BYTES])
{
    randombytes_buf(ret_box, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(ret_box + NONCE_BYTES, NULL, key, STORE_KEY_BYTES,
                                               keys->uuid, STORE_UUID_BYTES, NULL, ret_box,
                                               subkey(keys, SUBKEY_AUDIT));
}

enum store_err seal_audit_unwrap(const struct seal_keys *keys,
                                 const unsigned char box[SEAL_AUDIT_BOX_BYTES],
                                 unsigned char *ret_key)
{
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            ret_key, NULL, NULL, box + NONCE_BYTES, SEAL_AUDIT_BOX_BYTES - NONCE_BYTES, keys->uuid,
            STORE_UUID_BYTES, box, subkey(keys, SUBKEY_AUDIT)) != 0)
        return fault(STORE_ERR_INTEGRITY, "open", "a former key of the record",
                     "it is not authentic");
    return STORE_OK;
}
