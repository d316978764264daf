/*
 * Credential → wrapping key → root key. See keyslot.h for why there is a commitment.
 */
#include "keyslot.h"
#include "bytes.h"
#include "fault.h"
#include "row.h"

#include <sodium.h>
#include <string.h>

#define KDF_CONTEXT "sfs-slot"

enum { SUBKEY_WRAP = 1, SUBKEY_COMMITMENT = 2 };

static bool cost_valid(enum store_slot_kind kind, struct keyslot_cost cost)
{
    switch (kind) {
    case STORE_SLOT_KEYFILE:
        return cost.passes == 0 && cost.memory_kib == 0;
    case STORE_SLOT_PASSPHRASE:
        return cost.passes >= 1 && cost.passes <= KEYSLOT_PASSES_MAX &&
               cost.memory_kib >= KEYSLOT_MEMORY_KIB_MIN &&
               cost.memory_kib <= KEYSLOT_MEMORY_KIB_MAX;
    }
    return false;
}

bool keyslot_valid(const struct keyslot *slot)
{
    return cost_valid(slot->kind, slot->cost);
}

/* The slot's master key, from which the wrapping key and the commitment follow. */
static enum store_err derive_master(const struct store_credential *credential,
                                    const struct keyslot *slot, struct secbuf *ret_master)
{
    const struct secbuf *secret = credential->secret;
    enum store_err err = secbuf_alloc(ret_master, STORE_KEY_BYTES);
    if (err)
        return err;
    ret_master->len = STORE_KEY_BYTES;
    switch (slot->kind) {
    case STORE_SLOT_KEYFILE:
        if (secret->len != STORE_KEY_BYTES)
            return fault(STORE_ERR_INVALID, "use", "the key file", "it must be 32 bytes long");
        crypto_generichash(ret_master->data, STORE_KEY_BYTES, slot->salt, sizeof slot->salt,
                           secret->data, secret->len);
        return STORE_OK;
    case STORE_SLOT_PASSPHRASE:
        if (secret->len == 0 || secret->len > STORE_PASSPHRASE_MAX)
            return fault(STORE_ERR_INVALID, "use", "the passphrase",
                         "it must be 1 to 1024 bytes long");
        if (crypto_pwhash(ret_master->data, STORE_KEY_BYTES, (const char *)secret->data,
                          secret->len, slot->salt, slot->cost.passes,
                          (size_t)slot->cost.memory_kib * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
            return fault(STORE_ERR_NO_MEMORY, "stretch", "the passphrase", NULL);
        return STORE_OK;
    }
    return fault(STORE_ERR_INVALID, "use", "the key", "of an unknown kind");
}

/* The wrapping key, then the commitment, in one locked buffer. */
static enum store_err derive(const struct store_credential *credential, const struct keyslot *slot,
                             struct secbuf *ret_keys)
{
    SECBUF_AUTO struct secbuf master = SECBUF_INIT;
    enum store_err err = derive_master(credential, slot, &master);
    if (!err)
        err = secbuf_alloc(ret_keys, STORE_KEY_BYTES + KEYSLOT_COMMITMENT_BYTES);
    if (err)
        return err;
    crypto_kdf_derive_from_key(ret_keys->data, STORE_KEY_BYTES, SUBKEY_WRAP, KDF_CONTEXT,
                               master.data);
    crypto_kdf_derive_from_key(ret_keys->data + STORE_KEY_BYTES, KEYSLOT_COMMITMENT_BYTES,
                               SUBKEY_COMMITMENT, KDF_CONTEXT, master.data);
    return STORE_OK;
}

#define AD_BYTES (1 + STORE_UUID_BYTES + 1 + 8 + 1 + KEYSLOT_SALT_BYTES + 4 + 4)

static void additional_data(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                            const struct keyslot *slot, unsigned char ad[AD_BYTES])
{
    unsigned char *at = ad;
    *at++ = STORE_FORMAT;
    memcpy(at, uuid, STORE_UUID_BYTES);
    at += STORE_UUID_BYTES;
    *at++ = TABLE_SLOT;
    put_le(at, id, 8);
    at += 8;
    *at++ = (unsigned char)slot->kind;
    memcpy(at, slot->salt, KEYSLOT_SALT_BYTES);
    at += KEYSLOT_SALT_BYTES;
    put_le(at, slot->cost.passes, 4);
    put_le(at + 4, slot->cost.memory_kib, 4);
}

enum store_err keyslot_wrap(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                            const struct store_credential *credential, struct keyslot_cost cost,
                            const struct secbuf *root_key, struct keyslot *ret_slot)
{
    SECBUF_AUTO struct secbuf keys = SECBUF_INIT;
    struct keyslot slot = {.kind = credential->kind};
    unsigned char ad[AD_BYTES];

    if (slot.kind == STORE_SLOT_PASSPHRASE)
        slot.cost = cost;
    if (!keyslot_valid(&slot))
        return fault(STORE_ERR_INVALID, "make", "the key slot", "its cost is out of bounds");
    randombytes_buf(slot.salt, sizeof slot.salt);
    randombytes_buf(slot.nonce, sizeof slot.nonce);
    enum store_err err = derive(credential, &slot, &keys);
    if (err)
        return err;
    memcpy(slot.commitment, keys.data + STORE_KEY_BYTES, KEYSLOT_COMMITMENT_BYTES);
    additional_data(uuid, id, &slot, ad);
    crypto_aead_xchacha20poly1305_ietf_encrypt(slot.wrapped, NULL, root_key->data, STORE_KEY_BYTES,
                                               ad, sizeof ad, NULL, slot.nonce, keys.data);
    *ret_slot = slot;
    return STORE_OK;
}

enum store_err keyslot_unwrap(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                              const struct store_credential *credential, const struct keyslot *slot,
                              struct secbuf *ret_root_key)
{
    SECBUF_AUTO struct secbuf keys = SECBUF_INIT;
    unsigned char ad[AD_BYTES];

    if (!keyslot_valid(slot))
        return fault_row(STORE_ERR_INTEGRITY, "read", "slot", id, "its cost is out of bounds");
    if (slot->kind != credential->kind)
        return fault(STORE_ERR_KEY, "unlock", "the store", NULL);
    enum store_err err = derive(credential, slot, &keys);
    if (err)
        return err;
    if (sodium_memcmp(slot->commitment, keys.data + STORE_KEY_BYTES, KEYSLOT_COMMITMENT_BYTES) != 0)
        return fault(STORE_ERR_KEY, "unlock", "the store", NULL);
    err = secbuf_alloc(ret_root_key, STORE_KEY_BYTES);
    if (err)
        return err;
    additional_data(uuid, id, slot, ad);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_root_key->data, NULL, NULL, slot->wrapped,
                                                   sizeof slot->wrapped, ad, sizeof ad, slot->nonce,
                                                   keys.data) != 0) {
        secbuf_release(ret_root_key);
        return fault_row(STORE_ERR_INTEGRITY, "open", "slot", id, "its seal is broken");
    }
    ret_root_key->len = STORE_KEY_BYTES;
    return STORE_OK;
}
