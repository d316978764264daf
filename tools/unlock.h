/*
 * From a command line to an open, unlocked and verified store. Knows no command.
 */
#ifndef TOOLS_UNLOCK_H
#define TOOLS_UNLOCK_H

#include "cli.h"

/*
 * Open the store of this run, unlock it with the credential that applies, and load it;
 * a state that contradicts the anchor is refused. What is opened for writing is recorded from here
 * on. Failures are reported. out: cli->store
 */
enum status unlock_store(struct cli *cli, enum store_access access);

/* The same for what deals with the anchor itself: nothing is refused for it, nor is it advanced. */
enum status unlock_whatever_state(struct cli *cli, enum store_access access);

/* What unlocked it. */
struct unlocked {
    struct secbuf root_key;
    struct secbuf secret; /* of the credential */
    uint64_t slot;        /* the id of the key slot */
};

/* unlock_store() for what needs the keys. caller: zero-initialises; unlocked_release(), also on
 * failure */
enum status unlock_store_with(struct cli *cli, enum store_access access,
                              struct unlocked *ret_unlocked);
void unlocked_release(struct unlocked *unlocked);

/* Its steps one by one: open it, which takes no key; unlock what is open, and hold it to its
 * anchor, without loading it. */
enum status unlock_open(struct cli *cli, enum store_access access);
enum status unlock_keys(struct cli *cli);

/* Close the store of this run, if there is one, with a remark where the anchor was left behind. */
void unlock_end(struct cli *cli);

#endif
