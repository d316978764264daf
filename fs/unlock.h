/*
 * From the options to an open, unlocked and verified store.
 */
#ifndef FS_UNLOCK_H
#define FS_UNLOCK_H

#include "options.h"
#include "store.h"

/*
 * Open the store for reading, begin to watch it, unlock it with the key file or passphrase that the
 * options or the environment name, and load it. A failure is one line on standard error.
 * out:    ret_store     caller owns; store_close()
 *         ret_watch_fd  belongs to the store
 */
STORE_CHECKED enum store_err unlock_store(const struct options *options, struct store **ret_store,
                                          int *ret_watch_fd);

#endif
