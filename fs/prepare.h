/*
 * What workers are given, from the options and the environment: who they run as, the store's
 * anchor, the record of reads. Each of these says in one line on standard error what is wrong.
 */
#ifndef FS_PREPARE_H
#define FS_PREPARE_H

#include "options.h"
#include "supervisor.h"

/*
 * The anchor that workers hold the store to. One that can't be written is taken into memory, so
 * that at least no worker goes back behind what the one before has seen.
 */
STORE_CHECKED enum store_err prepare_anchor(const struct options *options, const char *store,
                                            const unsigned char uuid[static STORE_UUID_BYTES],
                                            struct supervisor *supervisor);

/* All that goes to workers in a message, but the key. */
bool prepare_handoff(const struct options *options, const char *store, struct handoff *handoff);

/* The record: without it nothing would be read. `store` must outlive the supervisor. */
bool prepare_reads(const struct options *options, const char *store, struct supervisor *supervisor);

#endif
