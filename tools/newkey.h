/*
 * A new key for a store: what `init` and `key add` make a key slot for.
 */
#ifndef TOOLS_NEWKEY_H
#define TOOLS_NEWKEY_H

#include "dirs.h"
#include "fail.h"
#include "slots.h"

/* What was asked for: one of them, the rest NULL, false or -1. */
struct newkey_wanted {
    const char *key_file; /* made where it is missing */
    bool passphrase;      /* asked for twice */
    int passphrase_fd;
    const char *recipient; /* as text */
    const char *command;
};

/* How many of them were. */
int newkey_count(const struct newkey_wanted *wanted);

/* Zero-initialise; newkey_release() afterwards, also on failure. */
struct newkey {
    struct store_new_slot slot;
    struct secbuf secret;
    unsigned char recipient[STORE_KEY_BYTES];
    const char *path; /* of the key file or command, else NULL */
    bool file_made;
    struct made_dirs dirs;
};

/*
 * Read, make, ask for or run what was wanted. Failures of `task`, and others, are reported; nothing
 * is left behind then. The strings of `wanted` have to outlive `key`.
 */
enum status newkey_get(const struct task *task, const struct newkey_wanted *wanted,
                       struct newkey *key);

/* Remove the key file and directories that were made. */
void newkey_undo(struct newkey *key);

void newkey_release(struct newkey *key);

#endif
