/*
 * Key files and passphrases for people: read as the store's credentials are, with failures
 * reported, and made new. Knows no store.
 */
#ifndef TOOLS_KEYS_H
#define TOOLS_KEYS_H

#include "fail.h"
#include "secmem.h"

/* Read an existing key file. What is wrong with it is reported, as STATUS_LOCKED. */
enum status keys_read_file(const char *path, struct secbuf *ret_key);

/*
 * Read a passphrase from a descriptor.
 * in:  failed  the status of a failure of `task`, which is reported
 */
enum status keys_read_passphrase(const struct task *task, enum status failed, int fd,
                                 struct secbuf *ret_passphrase);

/* Make a key file with a random key, mode 0600, durably. It must not exist. Failures are reported.
 */
enum status keys_make_file(const char *path, struct secbuf *ret_key);

#endif
