/*
 * Steps on paths of the store that several commands need.
 *
 * Prints nothing, and must not know which command it works for.
 */
#ifndef TOOLS_PATHS_H
#define TOOLS_PATHS_H

#include "store.h"

/*
 * Make the directories above `path` that are missing (root:root 0755), inside a transaction.
 * errors: those of store_mkdir() but EXISTS
 */
STORE_CHECKED enum store_err paths_make_parents(struct store *store, const char *path);

#endif
