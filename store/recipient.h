/*
 * Recipients: key pairs of X25519 that stores are unlocked with. The secret half is an identity and
 * stays with its owner; to the public half, the recipient, anybody can give a key slot.
 *
 * As text, both are a prefix and 48 characters of base64url: the 32 bytes of the key, and 4 of a
 * hash of prefix and key, so that what is mistyped is refused. FORMAT.md, "Identities".
 */
#ifndef STORE_RECIPIENT_H
#define STORE_RECIPIENT_H

#include "error.h"
#include "secmem.h"

#include <stdbool.h>

#define RECIPIENT_KEY_BYTES 32
#define RECIPIENT_PREFIX "secretfs-recipient:"
#define RECIPIENT_TEXT_BYTES (sizeof RECIPIENT_PREFIX + 48) /* with the NUL at its end */
#define RECIPIENT_IDENTITY_PREFIX "secretfs-identity:"
#define RECIPIENT_IDENTITY_LEN (sizeof RECIPIENT_IDENTITY_PREFIX - 1 + 48)

/* Make an identity. caller: secbuf_release() errors: NO_MEMORY, MEMORY_LOCK */
STORE_CHECKED enum store_err recipient_new_identity(struct secbuf *ret_identity);

/* The public half of an identity. errors: INVALID (not RECIPIENT_KEY_BYTES) */
STORE_CHECKED enum store_err recipient_of(const struct secbuf *identity,
                                          unsigned char ret_key[static RECIPIENT_KEY_BYTES]);

/* Whether these bytes can be what recipient_of() gives: reduced, so that there is one form only. */
bool recipient_valid(const unsigned char key[static RECIPIENT_KEY_BYTES]);

/* A recipient as text, and the reverse. errors: INVALID, with store_fault()'s reason */
void recipient_print(const unsigned char key[static RECIPIENT_KEY_BYTES],
                     char ret_text[static RECIPIENT_TEXT_BYTES]);
STORE_CHECKED enum store_err recipient_parse(const char *text,
                                             unsigned char ret_key[static RECIPIENT_KEY_BYTES]);

/*
 * An identity as text, RECIPIENT_IDENTITY_LEN bytes, and the reverse.
 * errors: INVALID, with store_fault()'s reason, NO_MEMORY, MEMORY_LOCK; the output is empty then
 */
STORE_CHECKED enum store_err recipient_print_identity(const struct secbuf *identity,
                                                      struct secbuf *ret_text);
STORE_CHECKED enum store_err recipient_parse_identity(const struct secbuf *text,
                                                      struct secbuf *ret_identity);

#endif
