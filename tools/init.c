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
#include "newkey.h"
#include "output.h"
#include "record.h"
#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTION_PASSPHRASE = CLI_OPTION_FIRST, OPTION_RECIPIENT };

/* Three of the common options mean something more here, so they are told of again. */
const struct cli_option init_options[] = {
    {CLI_OPTION_KEY_FILE, "key-file", "F", "protect it with this key file, made if it is missing"},
    {CLI_OPTION_PASSPHRASE_FD, "passphrase-fd", "N",
     "protect it with a passphrase, read from descriptor N"},
    {CLI_OPTION_UNLOCK_COMMAND, "unlock-command", "F",
     "protect it with the key that this program writes to its standard output"},
    {OPTION_RECIPIENT, "recipient", "PUB", "protect it with the identity of this public key"},
    {OPTION_PASSPHRASE, "passphrase", NULL, "protect it with a passphrase, asked for twice"},
    {0, NULL, NULL, NULL},
};

/* A new store in the making. */
struct creation {
    struct newkey key;
    struct made_dirs store_dirs;
};

static enum status create(struct cli *cli, const struct task *task, struct creation *creation)
{
    enum store_err err;

    if (!dirs_make_parents(cli->store_path, &creation->store_dirs))
        return fail(task, STATUS_FAILED, NULL, "making its directory failed: %s", strerror(errno));
    err = store_create_with(cli->store_path, &creation->key.slot, record_begin_new, cli);
    /* Somebody made it just now, perhaps with the key that is in the file: then it stays. */
    if (err == STORE_ERR_EXISTS)
        creation->key.file_made = false;
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

static void print_key(const struct newkey *key)
{
    switch (key->slot.credential.kind) {
    case STORE_SLOT_KEYFILE:
        printf("', its key '");
        text_print(stdout, key->path);
        printf("'.\nKeep a copy of the key elsewhere: without it, nobody can open the store.\n");
        return;
    case STORE_SLOT_PASSPHRASE:
        printf("', and opens with the passphrase.\n"
               "Keep the passphrase elsewhere too: without it, nobody can open the store.\n");
        return;
    case STORE_SLOT_RECIPIENT:
        printf("', and opens with the identity of that public key.\n"
               "Keep a copy of the identity elsewhere: without it, nobody can open the store.\n");
        return;
    case STORE_SLOT_COMMAND:
        printf("', and opens with the key that the program writes.\n"
               "Have another way to unlock it as well: see 'secretctl key'.\n");
        return;
    }
}

static enum status announce(const struct cli *cli, const struct task *task,
                            const struct newkey *key)
{
    const char *key_file = key->slot.credential.kind == STORE_SLOT_KEYFILE ? key->path : NULL;

    if (cli->json)
        return output_json(task,
                           json_pack("{s:s, s:s?, s:s?}", "store", cli->store_path, "key_file",
                                     key_file, "former_record", record_former(cli)));
    printf("The store is '");
    text_print(stdout, cli->store_path);
    print_key(key);
    if (record_former(cli)) {
        printf("The record of an older store that was here is '");
        text_print(stdout, record_former(cli));
        printf("' now.\n");
    }
    return STATUS_DONE;
}

/* in/out: default_file  the default key file, where nothing was asked for; caller frees */
static enum status parse(const struct cli *cli, const struct task *task,
                         struct newkey_wanted *wanted, char **default_file)
{
    bool chosen;
    enum store_err err;

    *wanted = (struct newkey_wanted){
        .key_file = cli->key_file,
        .passphrase = cli_has(cli, OPTION_PASSPHRASE),
        .passphrase_fd = cli->passphrase_fd,
        .recipient = cli_value(cli, OPTION_RECIPIENT),
        .command = cli->unlock_command,
    };
    if (cli->identity)
        return fail_usage("init", "a store is made with a public key: give '--recipient'");
    if (newkey_count(wanted) > 1)
        return fail_usage("init", "a store begins with one key: give only one of '--key-file', "
                                  "'--passphrase', '--passphrase-fd', '--recipient' and "
                                  "'--unlock-command'");
    if (newkey_count(wanted) == 1)
        return STATUS_DONE;
    err = credential_key_file(NULL, default_file, &chosen);
    wanted->key_file = *default_file;
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

enum status init_run(struct cli *cli)
{
    const struct task task = {"make the store", cli->store_path};
    struct creation creation = {.key = {.path = NULL}};
    AUTO_FREE char *default_file = NULL;
    struct newkey_wanted wanted;
    enum status status = parse(cli, &task, &wanted, &default_file);
    struct stat st;

    if (status != STATUS_DONE)
        return status;
    if (lstat(cli->store_path, &st) == 0)
        return fail(&task, STATUS_FAILED, "name another with --store", "it exists already");
    status = record_check_new(cli, &task);
    if (status == STATUS_DONE)
        status = newkey_get(&task, &wanted, &creation.key);
    if (status == STATUS_DONE)
        status = create(cli, &task, &creation);
    if (status == STATUS_DONE) {
        status = announce(cli, &task, &creation.key);
    } else {
        record_undo_new(cli);
        dirs_undo(&creation.store_dirs);
        newkey_undo(&creation.key);
    }
    newkey_release(&creation.key);
    dirs_release(&creation.store_dirs);
    return status;
}
