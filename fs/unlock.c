/*
 * Unlocking. A daemon asks nobody: without a passphrase descriptor it takes the key file.
 */
#include "unlock.h"
#include "credential.h"
#include "log.h"

#include <stdlib.h>
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
        log_line("cannot unlock '%s': it opens with a passphrase; give -o passphrase_fd=N",
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

static enum store_err unlock(struct store *store, const struct options *options)
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
    err = store_unlock(store, &credential);
    if (err)
        log_store_error("unlock", store_path(store), err);
    return err;
}

static enum store_err open_store(const char *path, struct store **ret_store, int *ret_watch_fd)
{
    struct store *store = NULL;
    enum store_err err = store_open(path, STORE_READ_ONLY, &store);
    if (!err)
        err = store_watch(store, ret_watch_fd);
    if (err) {
        log_store_error("open the store", path, err);
        store_close(store);
    } else {
        *ret_store = store;
    }
    return err;
}

enum store_err unlock_store(const struct options *options, struct store **ret_store,
                            int *ret_watch_fd)
{
    struct store *store = NULL;

    enum store_err err = secmem_init();
    if (err) {
        log_store_error("start", "secretfs", err);
        return err;
    }
    secmem_allow_swap(options->allow_swap);
    err = open_store(options->store, &store, ret_watch_fd);
    if (err)
        return err;
    err = unlock(store, options);
    if (!err) {
        err = store_load(store);
        if (err)
            log_store_error("load the store", store_path(store), err);
    }
    if (err)
        store_close(store);
    else
        *ret_store = store;
    return err;
}
