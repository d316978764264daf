/*
 * Which key opens the store: what is named for this run, else what the library chooses, asked for
 * on the terminal where that is a passphrase. Knows no command.
 */
#include "unlock.h"

#include "anchor.h"
#include "auto.h"
#include "keys.h"
#include "prompt.h"
#include "record.h"

static enum status read_passphrase(const struct cli *cli, const struct task *task,
                                   struct secbuf *ret_passphrase)
{
    enum status status;

    if (cli->passphrase_fd >= 0)
        return keys_read_passphrase(task, STATUS_LOCKED, cli->passphrase_fd, ret_passphrase);
    status = prompt_once(task, STATUS_LOCKED, "Passphrase: ", STORE_PASSPHRASE_MAX, ret_passphrase);
    if (status == STATUS_DONE && ret_passphrase->len == 0)
        return fail(task, STATUS_LOCKED, NULL, "the passphrase is empty");
    return status;
}

static enum status read_secret(const struct cli *cli, const struct task *task,
                               const struct credential_source *source, struct secbuf *ret_secret)
{
    if (source->kind == STORE_SLOT_PASSPHRASE)
        return read_passphrase(cli, task, ret_secret);
    if (source->path)
        return keys_read(source, ret_secret);
    if (store_has_slot(cli->store, STORE_SLOT_COMMAND))
        return fail(task, STATUS_LOCKED, "name it with --unlock-command",
                    "it opens with an unlock command");
    return fail(task, STATUS_LOCKED, NULL, "it has no key slot of a known kind");
}

static enum status unlock(const struct cli *cli, struct unlocked *unlocked)
{
    const struct task task = {"unlock the store", cli->store_path};
    const struct credential_named named = {cli->key_file, cli->identity, cli->unlock_command,
                                           cli->passphrase_fd};
    struct credential_source source = {.path = NULL};
    enum store_err err = credential_choose(cli->store, &named, &source);
    AUTO_FREE char *path = source.path;
    struct store_credential credential = {source.kind, &unlocked->secret};
    enum status status;

    if (err != STORE_OK)
        return fail_store(&task, err);
    status = read_secret(cli, &task, &source, &unlocked->secret);
    if (status != STATUS_DONE)
        return status;
    err = store_root_key(cli->store, &credential, &unlocked->root_key, &unlocked->slot);
    if (err == STORE_ERR_KEY)
        return keys_refused(cli->store, &task, &source);
    if (err == STORE_OK)
        err = store_unlock_root(cli->store, &unlocked->root_key);
    return err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
}

enum status unlock_open(struct cli *cli, enum store_access access)
{
    const struct task task = {"open the store", cli->store_path};
    enum store_err err = store_open(cli->store_path, access, &cli->store);

    if (err != STORE_OK)
        return fail_store(&task, err);
    if (!cli->json)
        progress_show(&cli->progress, cli->store);
    return STATUS_DONE;
}

static enum status use_anchor(const struct cli *cli, bool check)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_NO_STORE, "there is no such directory",
         "make it, or name another with --anchor"},
        {STORE_ERR_DENIED, NULL, "run it as root or as the owner of the anchor"},
        {STORE_OK, NULL, NULL},
    };
    const struct task task = {"use the anchor in",
                              cli->anchor ? cli->anchor : "the store's folder"};
    struct anchor_file file;
    enum store_err err =
        anchor_open(store_path(cli->store), store_uuid(cli->store), cli->anchor, &file);

    if (err != STORE_OK)
        return fail_hinted(&task, err, hints);
    anchor_use(cli->store, &file, check);
    return STATUS_DONE;
}

enum status unlock_keys(struct cli *cli)
{
    struct unlocked unlocked = {.slot = 0};
    enum status status = unlock(cli, &unlocked);

    unlocked_release(&unlocked);
    return status == STATUS_DONE ? use_anchor(cli, true) : status;
}

static enum status open_and_load(struct cli *cli, enum store_access access, bool check,
                                 struct unlocked *unlocked)
{
    const struct task task = {"load the store", cli->store_path};
    enum status status = unlock_open(cli, access);

    if (status == STATUS_DONE)
        status = unlock(cli, unlocked);
    if (status == STATUS_DONE)
        status = use_anchor(cli, check);
    if (status != STATUS_DONE)
        return status;
    enum store_err err = store_load(cli->store);
    if (err != STORE_OK)
        return fail_store(&task, err);
    return access == STORE_READ_WRITE ? record_begin(cli) : STATUS_DONE;
}

enum status unlock_store_with(struct cli *cli, enum store_access access,
                              struct unlocked *ret_unlocked)
{
    return open_and_load(cli, access, true, ret_unlocked);
}

static enum status unlock_and_forget(struct cli *cli, enum store_access access, bool check)
{
    struct unlocked unlocked = {.slot = 0};
    enum status status = open_and_load(cli, access, check, &unlocked);

    unlocked_release(&unlocked);
    return status;
}

enum status unlock_store(struct cli *cli, enum store_access access)
{
    return unlock_and_forget(cli, access, true);
}

enum status unlock_whatever_state(struct cli *cli, enum store_access access)
{
    return unlock_and_forget(cli, access, false);
}

void unlocked_release(struct unlocked *unlocked)
{
    secbuf_release(&unlocked->root_key);
    secbuf_release(&unlocked->secret);
}

void unlock_end(struct cli *cli)
{
    if (cli->store && anchor_is_late(cli->store))
        fail_remark("the anchor could not be advanced, so that an older copy of the store may go "
                    "unnoticed; see 'secretctl anchor'");
    store_close(cli->store);
    cli->store = NULL;
    record_end(cli);
}
