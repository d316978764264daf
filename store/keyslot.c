/*
 * Credential → wrapping key → root key. See keyslot.h for why there is a commitment.
 */
#include "keyslot.h"
#include "bytes.h"
#include "fault.h"
#include "recipient.h"
#include "record.h"
#include "row.h"

#include <sodium.h>
#include <string.h>

#define KDF_CONTEXT "sfs-slot"

enum { SUBKEY_WRAP = 1, SUBKEY_COMMITMENT = 2 };

#define RECIPIENT_DOMAIN "secretfs recipient slot"

/* Which slot of which store; what is derived for one is of no use in another. */
struct place {
    const unsigned char *uuid;
    uint64_t id;
};

static bool cost_valid(enum store_slot_kind kind, struct keyslot_cost cost)
{
    switch (kind) {
    case STORE_SLOT_KEYFILE:
    case STORE_SLOT_RECIPIENT:
    case STORE_SLOT_COMMAND:
        return cost.passes == 0 && cost.memory_kib == 0;
    case STORE_SLOT_PASSPHRASE:
        return cost.passes >= 1 && cost.passes <= KEYSLOT_PASSES_MAX &&
               cost.memory_kib >= KEYSLOT_MEMORY_KIB_MIN &&
               cost.memory_kib <= KEYSLOT_MEMORY_KIB_MAX;
    }
    return false;
}

static bool command_valid(const struct keyslot *slot)
{
    if (slot->kind != STORE_SLOT_COMMAND)
        return slot->command[0] == '\0';
    return slot->command[0] == '/' && record_text_valid(slot->command, strlen(slot->command));
}

bool keyslot_valid(const struct keyslot *slot)
{
    return cost_valid(slot->kind, slot->cost) && command_valid(slot);
}

/* ---- From a credential to keys -------------------------------------------- */

/* BLAKE2b of the salt, keyed with 32 bytes that are random already. */
static enum store_err hash_key(const struct secbuf *secret, const struct keyslot *slot,
                               struct secbuf *master)
{
    if (secret->len != STORE_KEY_BYTES)
        return fault(STORE_ERR_INVALID, "use", "the key", "it must be 32 bytes long");
    crypto_generichash(master->data, STORE_KEY_BYTES, slot->salt, sizeof slot->salt, secret->data,
                       secret->len);
    return STORE_OK;
}

static enum store_err stretch(const struct secbuf *secret, const struct keyslot *slot,
                              struct secbuf *master)
{
    if (secret->len == 0 || secret->len > STORE_PASSPHRASE_MAX)
        return fault(STORE_ERR_INVALID, "use", "the passphrase", "it must be 1 to 1024 bytes long");
    if (crypto_pwhash(master->data, STORE_KEY_BYTES, (const char *)secret->data, secret->len,
                      slot->salt, slot->cost.passes, (size_t)slot->cost.memory_kib * 1024,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return fault(STORE_ERR_NO_MEMORY, "stretch", "the passphrase", NULL);
    return STORE_OK;
}

/*
 * What the two key pairs of a recipient's slot have in common, from the secret half of either and
 * the public half of the other; hashed with both public halves and the slot's place, so that it is
 * this exchange's and no other's. errors: INVALID where `point` is of low order
 */
static enum store_err exchange(const struct secbuf *scalar, const unsigned char *point,
                               struct place place, const struct keyslot *slot,
                               struct secbuf *master)
{
    SECBUF_AUTO struct secbuf shared = SECBUF_INIT;
    crypto_generichash_state state;
    unsigned char id[8];
    enum store_err err = secbuf_alloc(&shared, crypto_scalarmult_BYTES);

    if (err)
        return err;
    if (crypto_scalarmult(shared.data, scalar->data, point) != 0)
        return fault(STORE_ERR_INVALID, "use", "the public key", "it is of low order");
    put_le(id, place.id, sizeof id);
    crypto_generichash_init(&state, shared.data, crypto_scalarmult_BYTES, STORE_KEY_BYTES);
    crypto_generichash_update(&state, (const unsigned char *)RECIPIENT_DOMAIN,
                              sizeof RECIPIENT_DOMAIN - 1);
    crypto_generichash_update(&state, place.uuid, STORE_UUID_BYTES);
    crypto_generichash_update(&state, id, sizeof id);
    crypto_generichash_update(&state, slot->salt, sizeof slot->salt);
    crypto_generichash_update(&state, slot->ephemeral, sizeof slot->ephemeral);
    crypto_generichash_update(&state, slot->recipient, sizeof slot->recipient);
    crypto_generichash_final(&state, master->data, STORE_KEY_BYTES);
    sodium_memzero(&state, sizeof state);
    return STORE_OK;
}

/* Of a slot that was read: what is wrong with its own public key is a change of the file. */
static enum store_err open_exchange(const struct secbuf *identity, struct place place,
                                    const struct keyslot *slot, struct secbuf *master)
{
    unsigned char own[STORE_KEY_BYTES];
    enum store_err err = recipient_of(identity, own);

    if (err)
        return err;
    if (memcmp(own, slot->recipient, sizeof own) != 0)
        return fault(STORE_ERR_KEY, "unlock", "the store", NULL);
    err = exchange(identity, slot->ephemeral, place, slot, master);
    if (err == STORE_ERR_INVALID)
        return fault_row(STORE_ERR_INTEGRITY, "read", "slot", place.id,
                         "its public key is of low order");
    return err;
}

/* The slot's master key, from which the wrapping key and the commitment follow. */
static enum store_err derive_master(const struct store_credential *credential, struct place place,
                                    const struct keyslot *slot, struct secbuf *ret_master)
{
    enum store_err err = secbuf_alloc(ret_master, STORE_KEY_BYTES);
    if (err)
        return err;
    ret_master->len = STORE_KEY_BYTES;
    switch (slot->kind) {
    case STORE_SLOT_KEYFILE:
    case STORE_SLOT_COMMAND:
        return hash_key(credential->secret, slot, ret_master);
    case STORE_SLOT_PASSPHRASE:
        return stretch(credential->secret, slot, ret_master);
    case STORE_SLOT_RECIPIENT:
        return open_exchange(credential->secret, place, slot, ret_master);
    }
    return fault(STORE_ERR_INVALID, "use", "the key", "of an unknown kind");
}

/* The wrapping key, then the commitment, in one locked buffer. */
static enum store_err derive(const struct secbuf *master, struct secbuf *ret_keys)
{
    enum store_err err = secbuf_alloc(ret_keys, STORE_KEY_BYTES + KEYSLOT_COMMITMENT_BYTES);
    if (err)
        return err;
    crypto_kdf_derive_from_key(ret_keys->data, STORE_KEY_BYTES, SUBKEY_WRAP, KDF_CONTEXT,
                               master->data);
    crypto_kdf_derive_from_key(ret_keys->data + STORE_KEY_BYTES, KEYSLOT_COMMITMENT_BYTES,
                               SUBKEY_COMMITMENT, KDF_CONTEXT, master->data);
    return STORE_OK;
}

/* ---- Wrapping ------------------------------------------------------------- */

#define AD_BASE_BYTES (1 + STORE_UUID_BYTES + 1 + 8 + 1 + KEYSLOT_SALT_BYTES + 4 + 4)
#define AD_MAX (AD_BASE_BYTES + STORE_COMMAND_MAX)

/* Returns its length. */
static size_t additional_data(struct place place, const struct keyslot *slot,
                              unsigned char ad[AD_MAX])
{
    unsigned char *at = ad;
    *at++ = STORE_FORMAT;
    memcpy(at, place.uuid, STORE_UUID_BYTES);
    at += STORE_UUID_BYTES;
    *at++ = TABLE_SLOT;
    put_le(at, place.id, 8);
    at += 8;
    *at++ = (unsigned char)slot->kind;
    memcpy(at, slot->salt, KEYSLOT_SALT_BYTES);
    at += KEYSLOT_SALT_BYTES;
    put_le(at, slot->cost.passes, 4);
    put_le(at + 4, slot->cost.memory_kib, 4);
    at += 8;
    if (slot->kind == STORE_SLOT_RECIPIENT) {
        memcpy(at, slot->ephemeral, STORE_KEY_BYTES);
        memcpy(at + STORE_KEY_BYTES, slot->recipient, STORE_KEY_BYTES);
        at += 2 * STORE_KEY_BYTES;
    }
    size_t len = strlen(slot->command);
    memcpy(at, slot->command, len);
    return (size_t)(at - ad) + len;
}

/* The kind, and what belongs to it and is not secret. */
static enum store_err describe(const struct store_new_slot *new_slot, struct keyslot_cost cost,
                               struct keyslot *slot)
{
    slot->kind = new_slot->credential.kind;
    if (slot->kind == STORE_SLOT_PASSPHRASE)
        slot->cost = cost;
    if (slot->kind == STORE_SLOT_RECIPIENT) {
        if (!recipient_valid(new_slot->recipient))
            return fault(STORE_ERR_INVALID, "use", "the public key", "it is no such key");
        memcpy(slot->recipient, new_slot->recipient, sizeof slot->recipient);
    }
    if (slot->kind == STORE_SLOT_COMMAND) {
        if (strlen(new_slot->command) > STORE_COMMAND_MAX)
            return fault(STORE_ERR_LIMIT, "use", "the command", "its path is too long");
        memcpy(slot->command, new_slot->command, strlen(new_slot->command) + 1);
    }
    if (!command_valid(slot))
        return fault(STORE_ERR_INVALID, "use", "the command",
                     "its path must be absolute, and UTF-8 without control characters");
    if (!keyslot_valid(slot))
        return fault(STORE_ERR_INVALID, "make", "the key slot", "its cost is out of bounds");
    return STORE_OK;
}

/* For a recipient: a key pair that is used this once, of which the public half is kept. */
static enum store_err make_exchange(struct place place, struct keyslot *slot,
                                    struct secbuf *ret_master)
{
    SECBUF_AUTO struct secbuf once = SECBUF_INIT;
    enum store_err err = recipient_new_identity(&once);

    if (!err)
        err = recipient_of(&once, slot->ephemeral);
    if (!err)
        err = secbuf_alloc(ret_master, STORE_KEY_BYTES);
    return err ? err : exchange(&once, slot->recipient, place, slot, ret_master);
}

enum store_err keyslot_wrap(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                            const struct store_new_slot *new_slot, struct keyslot_cost cost,
                            const struct secbuf *root_key, struct keyslot *ret_slot)
{
    SECBUF_AUTO struct secbuf master = SECBUF_INIT;
    SECBUF_AUTO struct secbuf keys = SECBUF_INIT;
    const struct place place = {uuid, id};
    struct keyslot slot = {0};
    unsigned char ad[AD_MAX];

    enum store_err err = describe(new_slot, cost, &slot);
    if (err)
        return err;
    randombytes_buf(slot.salt, sizeof slot.salt);
    randombytes_buf(slot.nonce, sizeof slot.nonce);
    err = slot.kind == STORE_SLOT_RECIPIENT
              ? make_exchange(place, &slot, &master)
              : derive_master(&new_slot->credential, place, &slot, &master);
    if (!err)
        err = derive(&master, &keys);
    if (err)
        return err;
    memcpy(slot.commitment, keys.data + STORE_KEY_BYTES, KEYSLOT_COMMITMENT_BYTES);
    size_t ad_len = additional_data(place, &slot, ad);
    crypto_aead_xchacha20poly1305_ietf_encrypt(slot.wrapped, NULL, root_key->data, STORE_KEY_BYTES,
                                               ad, ad_len, NULL, slot.nonce, keys.data);
    *ret_slot = slot;
    return STORE_OK;
}

enum store_err keyslot_unwrap(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                              const struct store_credential *credential, const struct keyslot *slot,
                              struct secbuf *ret_root_key)
{
    SECBUF_AUTO struct secbuf master = SECBUF_INIT;
    SECBUF_AUTO struct secbuf keys = SECBUF_INIT;
    const struct place place = {uuid, id};
    unsigned char ad[AD_MAX];

    if (!keyslot_valid(slot))
        return fault_row(STORE_ERR_INTEGRITY, "read", "slot", id, "its cost is out of bounds");
    if (slot->kind != credential->kind)
        return fault(STORE_ERR_KEY, "unlock", "the store", NULL);
    enum store_err err = derive_master(credential, place, slot, &master);
    if (!err)
        err = derive(&master, &keys);
    if (err)
        return err;
    if (sodium_memcmp(slot->commitment, keys.data + STORE_KEY_BYTES, KEYSLOT_COMMITMENT_BYTES) != 0)
        return fault(STORE_ERR_KEY, "unlock", "the store", NULL);
    err = secbuf_alloc(ret_root_key, STORE_KEY_BYTES);
    if (err)
        return err;
    size_t ad_len = additional_data(place, slot, ad);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_root_key->data, NULL, NULL, slot->wrapped,
                                                   sizeof slot->wrapped, ad, ad_len, slot->nonce,
                                                   keys.data) != 0) {
        secbuf_release(ret_root_key);
        return fault_row(STORE_ERR_INTEGRITY, "open", "slot", id, "its seal is broken");
    }
    ret_root_key->len = STORE_KEY_BYTES;
    return STORE_OK;
}
