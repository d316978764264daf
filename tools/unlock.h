/*
 * From a command line to an open, unlocked and verified store. Knows no command.
 */
#ifndef TOOLS_UNLOCK_H
#define TOOLS_UNLOCK_H

#include "cli.h"

/*
 * Open the store of this run, unlock it with the credential that applies, and load it.
 * Failures are reported. out: cli->store, which main closes.
 */
enum status unlock_store(struct cli *cli, enum store_access access);

/* The same, for what needs the root key itself. caller: secbuf_release() */
enum status unlock_store_root(struct cli *cli, enum store_access access,
                              struct secbuf *ret_root_key);

#endif
