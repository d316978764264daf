/*
 * secretctl key rekey.
 */
#ifndef TOOLS_KEY_REKEY_H
#define TOOLS_KEY_REKEY_H

#include "cli.h"

/*
 * A new root key for the store. The key slot that opened it is kept, and those of recipients; with
 * others it is refused, unless they are to be dropped.
 * in: without  a key slot that is not to open the store any more; 0: none
 */
enum status key_rekey(struct cli *cli, bool drop, uint64_t without);

#endif
