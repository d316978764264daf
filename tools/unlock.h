/*
 * From a command line to an open, unlocked and verified store. Knows no command.
 */
#ifndef TOOLS_UNLOCK_H
#define TOOLS_UNLOCK_H

#include "cli.h"

/*
 * Open the store of this run, unlock it with the key file or passphrase that applies, and load it.
 * Failures are reported. out: cli->store, which main closes.
 */
enum status unlock_store(struct cli *cli, enum store_access access);

#endif
