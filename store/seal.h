/*
 * Sealing: authenticated encryption of records, the keyed hashes of names and rows, and the subkeys
 * for each. Knows no SQL and no meaning of what it seals. Private. FORMAT.md, "Sealing".
 */
#ifndef STORE_SEAL_H
#define STORE_SEAL_H

#include "error.h"
#include "row.h"
#include "secmem.h"
#include "store.h"

/* Sums of row hashes modulo 2^64 in each lane: a hash of the multiset of all rows. */
struct multiset {
    uint64_t lane[2];
};

static inline void multiset_add(struct multiset *sum, const struct multiset *m)
{
    sum->lane[0] += m->lane[0];
    sum->lane[1] += m->lane[1];
}

static inline void multiset_subtract(struct multiset *sum, const struct multiset *m)
{
    sum->lane[0] -= m->lane[0];
    sum->lane[1] -= m->lane[1];
}

static inline bool multiset_equal(const struct multiset *a, const struct multiset *b)
{
    return a->lane[0] == b->lane[0] && a->lane[1] == b->lane[1];
}

/* The subkeys of one store. Shared read-only between threads once derived. */
struct seal_keys {
    struct secbuf keys;
    unsigned char uuid[STORE_UUID_BYTES];
};

/* Derive all subkeys from the root key (STORE_KEY_BYTES). caller: seal_keys_release() */
STORE_CHECKED enum store_err seal_keys_derive(struct seal_keys *keys, const struct secbuf *root_key,
                                              const unsigned char uuid[STORE_UUID_BYTES]);
void seal_keys_release(struct seal_keys *keys);

/* The length that `len` bytes have once padded: Padmé classes above a floor of 256 bytes. */
size_t seal_padded_len(size_t len);

/*
 * Pad and encrypt `buf` in place for row `id` of `table`.
 * in/out: buf       `len` plaintext bytes, room for seal_padded_len(len)
 * out:    ret_seal  nonce and tag
 * returns the length of the box now in `buf`
 */
size_t seal_close(const struct seal_keys *keys, enum table table, uint64_t id, unsigned char *buf,
                  size_t len, unsigned char ret_seal[ROW_SEAL_BYTES]);

/*
 * Check and decrypt the row's box into `buf`, which has room for row->box_len bytes; wiped on
 * failure. out:    ret_len  bytes without padding errors: INTEGRITY
 */
STORE_CHECKED enum store_err seal_open(const struct seal_keys *keys, enum table table,
                                       const struct row *row, unsigned char *buf, size_t *ret_len);

/* The keyed hash of a name in a directory. A deleted node's also depends on its id (else 0). */
void seal_lookup_hash(const struct seal_keys *keys, uint64_t parent, const char *name,
                      size_t name_len, uint64_t deleted_id,
                      unsigned char ret_hash[ROW_LOOKUP_BYTES]);

/* The keyed hash of a root record's `len` bytes, by which an anchor knows a state. */
#define SEAL_ROOT_HASH_BYTES 16
void seal_root_hash(const struct seal_keys *keys, const unsigned char *record, size_t len,
                    unsigned char ret_hash[SEAL_ROOT_HASH_BYTES]);

/* The code that authenticates `len` bytes of an anchor. */
#define SEAL_MAC_BYTES 32
void seal_anchor_mac(const struct seal_keys *keys, const unsigned char *bytes, size_t len,
                     unsigned char ret_mac[SEAL_MAC_BYTES]);

/*
 * The keyed hash of a line of the record: over `state`, what stood before it, and its `len` bytes;
 * under the present key, or under `key` (STORE_KEY_BYTES), one of before.
 */
#define SEAL_AUDIT_BYTES 16
void seal_audit_hash(const struct seal_keys *keys, const unsigned char state[SEAL_AUDIT_BYTES],
                     const void *bytes, size_t len, unsigned char ret_hash[SEAL_AUDIT_BYTES]);
void seal_audit_hash_under(const unsigned char *key, const unsigned char state[SEAL_AUDIT_BYTES],
                           const void *bytes, size_t len, unsigned char ret_hash[SEAL_AUDIT_BYTES]);

/*
 * The key of that hash, in memory for secrets; wrapped under the keys of a store, to be kept in it;
 * and unwrapped again. errors: INTEGRITY
 */
#define SEAL_AUDIT_BOX_BYTES 72
void seal_audit_key(const struct seal_keys *keys, unsigned char *ret_key);
void seal_audit_wrap(const struct seal_keys *keys, const unsigned char *key,
                     unsigned char ret_box[SEAL_AUDIT_BOX_BYTES]);
STORE_CHECKED enum store_err seal_audit_unwrap(const struct seal_keys *keys,
                                               const unsigned char box[SEAL_AUDIT_BOX_BYTES],
                                               unsigned char *ret_key);

/* The keyed hash of a whole row; its box is covered through the tag in its seal. */
struct multiset seal_row_hash(const struct seal_keys *keys, enum table table,
                              const struct row *row);

#endif
