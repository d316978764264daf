/*
 * Key slots: the root key wrapped under a key file, a passphrase, the key of a recipient or that
 * of a command. Private. FORMAT.md, "Key slots".
 *
 * A slot's bytes are read before anything of the store can be verified, so every parameter is
 * bounded before any work is done, and a commitment ties the slot to one wrapping key
 * (XChaCha20-Poly1305 alone would let a crafted slot open under two).
 */
#ifndef STORE_KEYSLOT_H
#define STORE_KEYSLOT_H

#include "error.h"
#include "secmem.h"
#include "slots.h"

#define KEYSLOT_SALT_BYTES 16
#define KEYSLOT_NONCE_BYTES 24
#define KEYSLOT_COMMITMENT_BYTES 32
#define KEYSLOT_WRAPPED_BYTES 48
#define KEYSLOT_MAX 16 /* slots in a store */

/* Argon2id's cost, for passphrases; 0 for all others. */
struct keyslot_cost {
    uint32_t passes;
    uint32_t memory_kib;
};

#define KEYSLOT_PASSES_MAX 16
#define KEYSLOT_MEMORY_KIB_MIN 8
#define KEYSLOT_MEMORY_KIB_MAX (1024 * 1024)
#define KEYSLOT_DEFAULT_COST ((struct keyslot_cost){.passes = 3, .memory_kib = 256 * 1024})

struct keyslot {
    enum store_slot_kind kind;
    struct keyslot_cost cost;
    unsigned char salt[KEYSLOT_SALT_BYTES];
    unsigned char nonce[KEYSLOT_NONCE_BYTES];
    unsigned char commitment[KEYSLOT_COMMITMENT_BYTES];
    unsigned char wrapped[KEYSLOT_WRAPPED_BYTES];
    unsigned char ephemeral[STORE_KEY_BYTES]; /* recipient: the public key that it is wrapped by */
    unsigned char recipient[STORE_KEY_BYTES]; /* recipient: the one that it is wrapped for */
    char command[STORE_COMMAND_MAX + 1];      /* command: its path; else "" */
};

/* Whether kind, cost and path are within bounds; asked of every slot from disk before it is used.
 */
bool keyslot_valid(const struct keyslot *slot);

/*
 * Wrap `root_key` for slot `id` of the store `uuid`. `cost` counts for passphrases only.
 * errors: INVALID (credential, cost, public key or path), NO_MEMORY, MEMORY_LOCK
 */
STORE_CHECKED enum store_err keyslot_wrap(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                                          const struct store_new_slot *new_slot,
                                          struct keyslot_cost cost, const struct secbuf *root_key,
                                          struct keyslot *ret_slot);

/*
 * Unwrap into `ret_root_key` (STORE_KEY_BYTES; caller owns).
 * errors: KEY when the credential is not this slot's, INTEGRITY when the slot is out of bounds, or
 * when the key is right and the slot was changed, INVALID, NO_MEMORY, MEMORY_LOCK
 */
STORE_CHECKED enum store_err keyslot_unwrap(const unsigned char uuid[STORE_UUID_BYTES], uint64_t id,
                                            const struct store_credential *credential,
                                            const struct keyslot *slot,
                                            struct secbuf *ret_root_key);

#endif
