/*
 * Which key opens the store: a key file or passphrase named for this run, else the service
 * manager's credential or the default key file, else a passphrase asked for on the terminal.
 *
 * What was not named is tried only where the store has a slot of its kind. Knows no command.
 */
#include "unlock.h"

#include "auto.h"
#include "credential.h"
#include "keys.h"
#include "prompt.h"

static enum status unlock_passphrase(const struct cli *cli, const struct task *task)
{
    SECBUF_AUTO struct secbuf passphrase = SECBUF_INIT;
    struct store_credential credential = {STORE_SLOT_PASSPHRASE, &passphrase};
    enum status status;
    enum store_err err;

    if (cli->passphrase_fd >= 0)
        status = keys_read_passphrase(task, STATUS_LOCKED, cli->passphrase_fd, &passphrase);
    else
        status =
            prompt_once(task, STATUS_LOCKED, "Passphrase: ", STORE_PASSPHRASE_MAX, &passphrase);
    if (status != STATUS_DONE)
        return status;
    if (passphrase.len == 0)
        return fail(task, STATUS_LOCKED, NULL, "the passphrase is empty");
    err = store_unlock(cli->store, &credential);
    if (err == STORE_ERR_KEY)
        return fail(task, STATUS_LOCKED, NULL, "no key slot opens with this passphrase");
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

static enum status unlock_keyfile(const struct cli *cli, const struct task *task, const char *path)
{
    SECBUF_AUTO struct secbuf key = SECBUF_INIT;
    struct store_credential credential = {STORE_SLOT_KEYFILE, &key};
    enum status status = keys_read_file(path, &key);
    enum store_err err;

    if (status != STATUS_DONE)
        return status;
    err = store_unlock(cli->store, &credential);
    if (err == STORE_ERR_KEY)
        return fail(task, STATUS_LOCKED, "name the right one with --key-file",
                    "no key slot opens with the key file '%s'", path);
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

static enum status unlock(const struct cli *cli, const struct task *task)
{
    bool keyfile_slot = store_has_slot(cli->store, STORE_SLOT_KEYFILE);
    bool passphrase_slot = store_has_slot(cli->store, STORE_SLOT_PASSPHRASE);
    AUTO_FREE char *path = NULL;
    bool chosen;
    enum store_err err;

    if (cli->passphrase_fd >= 0)
        return unlock_passphrase(cli, task);
    err = credential_key_file(cli->key_file, &path, &chosen);
    if (err != STORE_OK)
        return fail_store(task, err);
    if (chosen || (keyfile_slot && (!passphrase_slot || access(path, F_OK) == 0)))
        return unlock_keyfile(cli, task, path);
    if (passphrase_slot)
        return unlock_passphrase(cli, task);
    return fail(task, STATUS_LOCKED, NULL, "it has no key slot of a known kind");
}

enum status unlock_store(struct cli *cli, enum store_access access)
{
    const struct task open_task = {"open the store", cli->store_path};
    const struct task unlock_task = {"unlock the store", cli->store_path};
    const struct task load_task = {"load the store", cli->store_path};
    enum store_err err = store_open(cli->store_path, access, &cli->store);
    enum status status;

    if (err != STORE_OK)
        return fail_store(&open_task, err);
    status = unlock(cli, &unlock_task);
    if (status != STATUS_DONE)
        return status;
    err = store_load(cli->store);
    return err == STORE_OK ? STATUS_DONE : fail_store(&load_task, err);
}
