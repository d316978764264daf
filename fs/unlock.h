/*
 * From the options to the root key. The store is opened for its key slots only, and closed again.
 */
#ifndef FS_UNLOCK_H
#define FS_UNLOCK_H

#include "options.h"
#include "store.h"

/*
 * Unwrap the root key with the credential that the options or the environment name.
 * A failure is one line on standard error.
 * out:    ret_root_key  caller owns
 *         ret_path      the absolute path of the store; caller frees
 *         ret_uuid      the store's
 */
STORE_CHECKED enum store_err unlock_root_key(const struct options *options,
                                             struct secbuf *ret_root_key, char **ret_path,
                                             unsigned char ret_uuid[static STORE_UUID_BYTES]);

#endif
