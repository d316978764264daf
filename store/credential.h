/*
 * Credentials: which of them unlocks a store on this host, and how key files, identities,
 * passphrases and the output of commands are read. The same for every program, so that what unlocks
 * a store for one unlocks it for all.
 */
#ifndef STORE_CREDENTIAL_H
#define STORE_CREDENTIAL_H

#include "error.h"
#include "secmem.h"
#include "store.h"

#define CREDENTIAL_KEY_FILE "/etc/secretfs/key"
#define CREDENTIAL_KEY_FILE_VARIABLE "SECRETFS_KEY_FILE"
#define CREDENTIAL_NAME "secretfs.key" /* in the service manager's $CREDENTIALS_DIRECTORY */
#define CREDENTIAL_IDENTITY "/etc/secretfs/identity"
#define CREDENTIAL_IDENTITY_VARIABLE "SECRETFS_IDENTITY"

/* What a command line names; NULL or -1 for what it does not, and one is named at most. */
struct credential_named {
    const char *key_file;
    const char *identity;
    const char *unlock_command;
    int passphrase_fd;
};

/* What is to unlock a store. */
struct credential_source {
    enum store_slot_kind kind;
    char *path; /* of the key file, identity or command; caller frees. NULL for a passphrase, and
                   for a command where the store needs one and none is named */
};

/*
 * Choose what unlocks `store`: what is named; else the key file of the environment, the identity of
 * the environment, the service manager's credential; else whichever the store has a slot for of the
 * default key file and the default identity, if it exists, or a passphrase. Never a command that
 * was not named: what the store says of it is not verified.
 * errors: NO_MEMORY. Reads the environment: call before there are other threads.
 */
STORE_CHECKED enum store_err credential_choose(const struct store *store,
                                               const struct credential_named *named,
                                               struct credential_source *ret_source);

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
 * Read an identity, as text (recipient.h): one line, in a file as a key file has to be.
 * errors: as credential_read_key_file()
 */
STORE_CHECKED enum store_err credential_read_identity(const char *path,
                                                      struct secbuf *ret_identity);

/*
 * Run a program and take the key that it writes to its standard output: STORE_KEY_BYTES bytes and
 * nothing else. It is run without a shell and without arguments, in a session of its own, with an
 * environment of PATH and LANG, its standard input empty, its standard error ours, all else closed;
 * after CREDENTIAL_COMMAND_S seconds it is killed with its process group. The path must be
 * absolute; the file, and every directory on the way, must belong to root or to the caller, and
 * nobody else may be able to write there.
 * errors: KEY, with store_fault()'s reason or errno saying why; NO_MEMORY, MEMORY_LOCK
 */
#define CREDENTIAL_COMMAND_S 10
STORE_CHECKED enum store_err credential_run_command(const char *path, struct secbuf *ret_key);

/* Whichever of the three `source` is; its path is not NULL. */
STORE_CHECKED enum store_err credential_read(const struct credential_source *source,
                                             struct secbuf *ret_secret);

/*
 * For people: "the key file", "the identity" …, and how many slots of a store a credential of this
 * kind could open, as "tried 1 of 2 slots: the other wants a passphrase".
 */
const char *credential_name(enum store_slot_kind kind);
#define CREDENTIAL_TRIED_MAX 128
void credential_tried(struct store *store, enum store_slot_kind kind,
                      char ret_text[static CREDENTIAL_TRIED_MAX]);

/*
 * Read a passphrase from a descriptor, up to a newline (taken, not kept) or the end.
 * errors: KEY when it is empty, longer than STORE_PASSPHRASE_MAX or can't be read; as above
 */
STORE_CHECKED enum store_err credential_read_passphrase(int fd, struct secbuf *ret_passphrase);

#endif
