/*
 * Credentials: where the key file of a host is, and how a key file or a passphrase is read. The
 * same for every program, so that what unlocks a store for one unlocks it for all.
 */
#ifndef STORE_CREDENTIAL_H
#define STORE_CREDENTIAL_H

#include "error.h"
#include "secmem.h"

#define CREDENTIAL_KEY_FILE "/etc/secretfs/key"
#define CREDENTIAL_KEY_FILE_VARIABLE "SECRETFS_KEY_FILE"
#define CREDENTIAL_NAME "secretfs.key" /* in the service manager's $CREDENTIALS_DIRECTORY */

/*
 * The key file to use: `named` if it isn't NULL, else the environment's, else the service manager's
 * credential if there is one, else the default place.
 * out:    ret_path   caller frees
 *         ret_chosen somebody chose it; false for the default place, which need not exist
 * errors: NO_MEMORY. Reads the environment: call before there are other threads.
 */
STORE_CHECKED enum store_err credential_key_file(const char *named, char **ret_path,
                                                 bool *ret_chosen);

/*
 * Read a key file: a regular file of STORE_KEY_BYTES bytes that others can't read and the group
 * can't change (as ssh(1) asks of a private key). out:    ret_key  caller owns; empty on failure
 * errors: KEY, with store_fault()'s reason or errno saying why; NO_MEMORY, MEMORY_LOCK
 */
STORE_CHECKED enum store_err credential_read_key_file(const char *path, struct secbuf *ret_key);

/*
 * Read a passphrase from a descriptor, up to a newline (taken, not kept) or the end.
 * errors: KEY when it is empty, longer than STORE_PASSPHRASE_MAX or can't be read; as above
 */
STORE_CHECKED enum store_err credential_read_passphrase(int fd, struct secbuf *ret_passphrase);

#endif
