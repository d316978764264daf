/*
 * Key files, identities and passphrases for people: read as the store's credentials are, with
 * failures reported, and made new.
 */
#ifndef TOOLS_KEYS_H
#define TOOLS_KEYS_H

#include "credential.h"
#include "fail.h"

/*
 * Read what unlocks a store: a key file, an identity, or the output of a command. What is wrong
 * with it is reported, as STATUS_LOCKED.
 */
enum status keys_read(const struct credential_source *source, struct secbuf *ret_key);

/* "keyfile", "passphrase", "recipient" or "command". */
const char *keys_kind_name(enum store_slot_kind kind);

/* Report that no key slot of `store` opens with what was read from `source`: STATUS_LOCKED. */
enum status keys_refused(struct store *store, const struct task *task,
                         const struct credential_source *source);

/*
 * Read a passphrase from a descriptor.
 * in:  failed  the status of a failure of `task`, which is reported
 */
enum status keys_read_passphrase(const struct task *task, enum status failed, int fd,
                                 struct secbuf *ret_passphrase);

/* Make a key file with a random key, mode 0600, durably. It must not exist. Failures are reported.
 */
enum status keys_make_file(const char *path, struct secbuf *ret_key);

/* Write `bytes` to a new file, in the same way. */
enum status keys_write_file(const struct task *task, const char *path, const struct secbuf *bytes);

#endif
