/*
 * Unlocking. A daemon asks nobody: a passphrase needs a descriptor.
 */
#include "unlock.h"
#include "credential.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum store_err read_passphrase(const struct store *store, int fd,
                                      struct secbuf *ret_passphrase)
{
    if (fd < 0) {
        log_error("cannot unlock '%s': it opens with a passphrase; give -o passphrase_fd=N",
                  store_path(store));
        return STORE_ERR_KEY;
    }
    enum store_err err = credential_read_passphrase(fd, ret_passphrase);
    close(fd);
    if (err)
        log_store_error("read the passphrase for", "the store", err);
    return err;
}

static enum store_err read_secret(const struct store *store, const struct options *options,
                                  const struct credential_source *source, struct secbuf *ret_secret)
{
    char action[64];

    if (source->kind == STORE_SLOT_PASSPHRASE)
        return read_passphrase(store, options->passphrase_fd, ret_secret);
    if (source->path == NULL) {
        log_error("cannot unlock '%s': it opens with an unlock command; name it with "
                  "-o unlock_command=FILE",
                  store_path(store));
        return STORE_ERR_KEY;
    }
    enum store_err err = credential_read(source, ret_secret);
    if (err) {
        snprintf(action, sizeof action, "use %s", credential_name(source->kind));
        log_store_error(action, source->path, err);
    }
    return err;
}

static void refuse(struct store *store, const struct credential_source *source)
{
    char tried[CREDENTIAL_TRIED_MAX];

    credential_tried(store, source->kind, tried);
    if (source->path)
        log_error("cannot unlock '%s': no key slot opens with %s '%s' (%s)", store_path(store),
                  credential_name(source->kind), source->path, tried);
    else
        log_error("cannot unlock '%s': no key slot opens with the passphrase (%s)",
                  store_path(store), tried);
}

static enum store_err unlock_with(struct store *store, const struct options *options,
                                  const struct credential_source *source,
                                  struct secbuf *ret_root_key)
{
    SECBUF_AUTO struct secbuf secret = SECBUF_INIT;
    struct store_credential credential = {source->kind, &secret};

    enum store_err err = read_secret(store, options, source, &secret);
    if (err)
        return err;
    err = store_root_key(store, &credential, ret_root_key, NULL);
    if (err == STORE_ERR_KEY)
        refuse(store, source);
    else if (err)
        log_store_error("unlock", store_path(store), err);
    return err;
}

static enum store_err unlock(struct store *store, const struct options *options,
                             struct secbuf *ret_root_key)
{
    const struct credential_named named = {options->key_file, options->identity,
                                           options->unlock_command, options->passphrase_fd};
    struct credential_source source;

    enum store_err err = credential_choose(store, &named, &source);
    if (err) {
        log_store_error("unlock", store_path(store), err);
        return err;
    }
    err = unlock_with(store, options, &source, ret_root_key);
    free(source.path);
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
