/*
 * Unlocking. A daemon asks nobody: without a passphrase descriptor it takes the key file.
 */
#include "unlock.h"
#include "credential.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum store_err read_passphrase(int fd, struct secbuf *ret_passphrase)
{
    enum store_err err = credential_read_passphrase(fd, ret_passphrase);
    close(fd);
    if (err)
        log_store_error("read the passphrase for", "the store", err);
    return err;
}

static enum store_err read_key_file(const struct store *store, const char *named,
                                    struct secbuf *ret_key)
{
    char *path = NULL;
    bool chosen = false;
    enum store_err err = credential_key_file(named, &path, &chosen);
    if (!err && !chosen && !store_has_slot(store, STORE_SLOT_KEYFILE)) {
        log_error("cannot unlock '%s': it opens with a passphrase; give -o passphrase_fd=N",
                  store_path(store));
        err = STORE_ERR_KEY;
    } else {
        if (!err)
            err = credential_read_key_file(path, ret_key);
        if (err)
            log_store_error("use the key file", path ? path : CREDENTIAL_KEY_FILE, err);
    }
    free(path);
    return err;
}

static enum store_err unlock(struct store *store, const struct options *options,
                             struct secbuf *ret_root_key)
{
    SECBUF_AUTO struct secbuf secret = SECBUF_INIT;
    struct store_credential credential = {.secret = &secret};
    enum store_err err;

    if (options->passphrase_fd >= 0) {
        credential.kind = STORE_SLOT_PASSPHRASE;
        err = read_passphrase(options->passphrase_fd, &secret);
    } else {
        credential.kind = STORE_SLOT_KEYFILE;
        err = read_key_file(store, options->key_file, &secret);
    }
    if (err)
        return err;
    err = store_root_key(store, &credential, ret_root_key);
    if (err)
        log_store_error("unlock", store_path(store), err);
    return err;
}

enum store_err unlock_root_key(const struct options *options, struct secbuf *ret_root_key,
                               char **ret_path, unsigned char ret_uuid[static STORE_UUID_BYTES])
{
    struct store *store = NULL;

    enum store_err err = store_open(options->store, STORE_READ_ONLY, &store);
    if (err) {
        log_store_error("open the store", options->store, err);
        return err;
    }
    err = unlock(store, options, ret_root_key);
    if (!err && (*ret_path = strdup(store_path(store))) == NULL) {
        log_system_error("open the store", options->store, ENOMEM);
        err = STORE_ERR_NO_MEMORY;
    }
    memcpy(ret_uuid, store_uuid(store), STORE_UUID_BYTES);
    store_close(store);
    return err;
}
