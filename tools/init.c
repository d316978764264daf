/*
 * secretctl init: a new store with its first key slot, and the key file where it is missing.
 *
 * What fails leaves nothing behind: no key file and no directory that was made here. An existing
 * key file is used as it is; an existing store is never touched.
 */
#include "auto.h"
#include "commands.h"
#include "credential.h"
#include "dirs.h"
#include "keys.h"
#include "output.h"
#include "prompt.h"
#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTION_PASSPHRASE = CLI_OPTION_FIRST };

/* Two of the common options mean something more here, so they are told of again. */
const struct cli_option init_options[] = {
    {CLI_OPTION_KEY_FILE, "key-file", "F", "protect it with this key file, made if it is missing"},
    {CLI_OPTION_PASSPHRASE_FD, "passphrase-fd", "N",
     "protect it with a passphrase, read from descriptor N"},
    {OPTION_PASSPHRASE, "passphrase", NULL, "protect it with a passphrase, asked for twice"},
    {0, NULL, NULL, NULL},
};

/* A new store in the making. */
struct creation {
    struct store_credential credential;
    struct secbuf secret;
    char *key_path; /* NULL: it has a passphrase */
    bool key_made;
    struct made_dirs key_dirs;
    struct made_dirs store_dirs;
};

static enum status get_key(struct creation *creation)
{
    const struct task task = {"make the key file", creation->key_path};
    struct stat st;

    creation->credential.kind = STORE_SLOT_KEYFILE;
    if (lstat(creation->key_path, &st) == 0)
        return keys_read_file(creation->key_path, &creation->secret);
    if (!dirs_make_parents(creation->key_path, &creation->key_dirs))
        return fail(&task, STATUS_FAILED, NULL, "making its directory failed: %s", strerror(errno));
    creation->key_made = keys_make_file(creation->key_path, &creation->secret) == STATUS_DONE;
    return creation->key_made ? STATUS_DONE : STATUS_FAILED;
}

static enum status get_passphrase(const struct cli *cli, const struct task *task,
                                  struct creation *creation)
{
    enum status status;

    creation->credential.kind = STORE_SLOT_PASSPHRASE;
    if (cli->passphrase_fd >= 0)
        return keys_read_passphrase(task, STATUS_FAILED, cli->passphrase_fd, &creation->secret);
    status = prompt_twice(task, STATUS_FAILED, "New passphrase: ", STORE_PASSPHRASE_MAX,
                          &creation->secret);
    if (status == STATUS_DONE && creation->secret.len == 0)
        status = fail(task, STATUS_FAILED, NULL, "the passphrase is empty");
    return status;
}

static enum status create(const struct cli *cli, const struct task *task, struct creation *creation)
{
    enum store_err err;

    if (!dirs_make_parents(cli->store_path, &creation->store_dirs))
        return fail(task, STATUS_FAILED, NULL, "making its directory failed: %s", strerror(errno));
    creation->credential.secret = &creation->secret;
    err = store_create(cli->store_path, &creation->credential);
    /* Somebody made it just now, perhaps with the key that is in the file: then it stays. */
    if (err == STORE_ERR_EXISTS)
        creation->key_made = false;
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

static void undo(const struct creation *creation)
{
    dirs_undo(&creation->store_dirs);
    if (creation->key_made)
        unlink(creation->key_path);
    dirs_undo(&creation->key_dirs);
}

static enum status announce(const struct cli *cli, const struct task *task, const char *key_path)
{
    if (cli->json)
        return output_json(
            task, json_pack("{s:s, s:s?}", "store", cli->store_path, "key_file", key_path));
    printf("The store is '");
    text_print(stdout, cli->store_path);
    if (key_path) {
        printf("', its key '");
        text_print(stdout, key_path);
        printf("'.\nKeep a copy of the key elsewhere: without it, nobody can open the store.\n");
    } else {
        printf("', and opens with the passphrase.\n"
               "Keep the passphrase elsewhere too: without it, nobody can open the store.\n");
    }
    return STATUS_DONE;
}

static enum status get_secret(const struct cli *cli, const struct task *task,
                              struct creation *creation)
{
    bool chosen;
    enum store_err err;

    if (cli->passphrase_fd >= 0 || cli_has(cli, OPTION_PASSPHRASE))
        return get_passphrase(cli, task, creation);
    err = credential_key_file(cli->key_file, &creation->key_path, &chosen);
    return err == STORE_OK ? get_key(creation) : fail_store(task, err);
}

enum status init_run(struct cli *cli)
{
    const struct task task = {"make the store", cli->store_path};
    struct creation creation = {.key_path = NULL};
    enum status status;
    struct stat st;

    if (cli_has(cli, OPTION_PASSPHRASE) && (cli->key_file || cli->passphrase_fd >= 0))
        return fail_usage("init", "a store begins with one key: give only one of '--key-file', "
                                  "'--passphrase' and '--passphrase-fd'");
    if (lstat(cli->store_path, &st) == 0)
        return fail(&task, STATUS_FAILED, "name another with --store", "it exists already");
    status = get_secret(cli, &task, &creation);
    if (status == STATUS_DONE)
        status = create(cli, &task, &creation);
    if (status == STATUS_DONE)
        status = announce(cli, &task, creation.key_path);
    else
        undo(&creation);
    secbuf_release(&creation.secret);
    dirs_release(&creation.key_dirs);
    dirs_release(&creation.store_dirs);
    free(creation.key_path);
    return status;
}
