/*
 * secretctl key: list the key slots of the store, add one, take one away.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"
#include "key_rekey.h"
#include "keys.h"
#include "newkey.h"
#include "output.h"
#include "recipient.h"
#include "text.h"
#include "unlock.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

enum {
    OPTION_KEY_FILE = CLI_OPTION_FIRST,
    OPTION_PASSPHRASE,
    OPTION_PASSPHRASE_FD,
    OPTION_RECIPIENT,
    OPTION_UNLOCK_COMMAND,
    OPTION_DROP,
    OPTION_REKEY,
};

const struct cli_option key_options[] = {
    {OPTION_KEY_FILE, "new-key-file", "F", "add this key file, made if it is missing"},
    {OPTION_PASSPHRASE, "new-passphrase", NULL, "add a passphrase, asked for twice"},
    {OPTION_PASSPHRASE_FD, "new-passphrase-fd", "N", "add a passphrase, read from descriptor N"},
    {OPTION_RECIPIENT, "recipient", "PUB", "add the identity with this public key"},
    {OPTION_UNLOCK_COMMAND, "new-unlock-command", "F",
     "add the key that this program writes to its standard output"},
    {OPTION_DROP, "drop", NULL, "rekey: let go of the key slots whose keys are not at hand"},
    {OPTION_REKEY, "rekey", NULL, "rm: make a new root key as well"},
    {0, NULL, NULL, NULL},
};

/* The root key is the same, and may have been kept with the slot. */
static const char kept[] =
    "whoever has the removed key can still open every copy of the store that "
    "was made before; only a rekey ends that";

/* What is told of a slot: its recipient or its command. out: ret_text  the former as text */
static const char *detail_of(const struct store_slot *slot,
                             char ret_text[static RECIPIENT_TEXT_BYTES])
{
    if (slot->kind != STORE_SLOT_RECIPIENT)
        return slot->command;
    recipient_print(slot->recipient, ret_text);
    return ret_text;
}

static json_t *slot_json(const struct store_slot *slot)
{
    char text[RECIPIENT_TEXT_BYTES];
    const char *detail = detail_of(slot, text);

    return json_pack("{s:I, s:s, s:s?, s:s?}", "id", (json_int_t)slot->id, "kind",
                     keys_kind_name(slot->kind), "recipient",
                     slot->kind == STORE_SLOT_RECIPIENT ? detail : NULL, "command",
                     slot->kind == STORE_SLOT_COMMAND ? detail : NULL);
}

/* ---- ls ------------------------------------------------------------------- */

static enum status list(struct cli *cli)
{
    const struct task task = {"list the key slots of", cli->store_path};
    struct store_slot slots[STORE_SLOTS_MAX];
    char text[RECIPIENT_TEXT_BYTES];
    size_t count;
    enum status status = unlock_store(cli, STORE_READ_ONLY);
    json_t *array;

    if (status != STATUS_DONE)
        return status;
    store_list_slots(cli->store, slots, &count);
    if (cli->json) {
        array = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(array, slot_json(&slots[i]));
        return output_json(&task, array);
    }
    for (size_t i = 0; i < count; i++) {
        const char *detail = detail_of(&slots[i], text);
        printf("%-3" PRIu64 " %s%*s", slots[i].id, keys_kind_name(slots[i].kind),
               detail[0] ? 11 - (int)strlen(keys_kind_name(slots[i].kind)) : 0, "");
        text_print(stdout, detail);
        putchar('\n');
    }
    return STATUS_DONE;
}

/* ---- add ------------------------------------------------------------------ */

static enum status parse(const struct cli *cli, struct newkey_wanted *wanted)
{
    uint32_t fd = UINT32_MAX;
    enum status status = cli_number(cli, OPTION_PASSPHRASE_FD, 0, INT_MAX, &fd);

    if (status != STATUS_DONE)
        return status;
    *wanted = (struct newkey_wanted){
        .key_file = cli_value(cli, OPTION_KEY_FILE),
        .passphrase = cli_has(cli, OPTION_PASSPHRASE),
        .passphrase_fd = fd == UINT32_MAX ? -1 : (int)fd,
        .recipient = cli_value(cli, OPTION_RECIPIENT),
        .command = cli_value(cli, OPTION_UNLOCK_COMMAND),
    };
    if (newkey_count(wanted) != 1 || cli->given_count > 1)
        return fail_usage("key", "'add' takes one of '--new-key-file', '--new-passphrase', "
                                 "'--new-passphrase-fd', '--recipient' and '--new-unlock-command'");
    return STATUS_DONE;
}

static enum status announce(const struct cli *cli, const struct task *task, uint64_t id,
                            const struct newkey *key)
{
    struct store_slot slot = {.id = id, .kind = key->slot.credential.kind};

    if (cli->json) {
        memcpy(slot.recipient, key->recipient, sizeof slot.recipient);
        if (key->slot.command)
            snprintf(slot.command, sizeof slot.command, "%s", key->slot.command);
        return output_json(task, slot_json(&slot));
    }
    printf("Key slot %" PRIu64 " is added (%s).\n", id, keys_kind_name(slot.kind));
    return STATUS_DONE;
}

static enum status commit_slot(struct cli *cli, const struct task *task,
                               const struct secbuf *root_key, struct newkey *key, uint64_t *ret_id)
{
    enum status status = change_begin(cli, task);
    enum store_err err;

    if (status != STATUS_DONE)
        return status;
    err = store_add_slot(cli->store, root_key, &key->slot, ret_id);
    if (err == STORE_OK)
        return change_commit(cli, task);
    status = fail_store(task, err);
    store_rollback(cli->store);
    return status;
}

static enum status add(struct cli *cli)
{
    const struct task task = {"add a key slot to", cli->store_path};
    struct unlocked unlocked = {.slot = 0};
    struct newkey_wanted wanted;
    struct newkey key = {.path = NULL};
    uint64_t id = 0;
    enum status status = parse(cli, &wanted);

    if (status == STATUS_DONE)
        status = unlock_store_with(cli, STORE_READ_WRITE, &unlocked);
    if (status == STATUS_DONE)
        status = newkey_get(&task, &wanted, &key);
    if (status == STATUS_DONE) {
        status = commit_slot(cli, &task, &unlocked.root_key, &key, &id);
        if (status == STATUS_DONE)
            status = announce(cli, &task, id, &key);
        else if (status != STATUS_UNCONFIRMED)
            newkey_undo(&key);
    }
    newkey_release(&key);
    unlocked_release(&unlocked);
    return status;
}

/* ---- rm ------------------------------------------------------------------- */

static enum status take_away(struct cli *cli)
{
    const struct task task = {"remove the key slot", cli->operands[1]};
    const struct fail_hint hints[] = {
        {STORE_ERR_NOT_FOUND, "there is no such key slot", "see 'secretctl key ls'"},
        {STORE_OK, NULL, NULL}};
    uint32_t id;
    enum status status;
    enum status compacted;
    enum store_err err;

    bool anew = cli_has(cli, OPTION_REKEY);
    bool drop = anew && cli_has(cli, OPTION_DROP);

    if (cli->given_count > (size_t)anew + drop)
        return fail_usage("key", "'rm' takes none of the options of 'add'");
    if (!text_number(cli->operands[1], UINT32_MAX, &id))
        return fail_usage("key", "'%s' is not the number of a key slot", cli->operands[1]);
    if (anew)
        return key_rekey(cli, drop, id);
    status = change_begin(cli, &task);
    if (status != STATUS_DONE)
        return status;
    err = store_remove_slot(cli->store, id);
    if (err != STORE_OK) {
        status = fail_hinted(&task, err, hints);
        store_rollback(cli->store);
        return status;
    }
    status = change_commit(cli, &task);
    if (status != STATUS_DONE && status != STATUS_UNCONFIRMED)
        return status;
    fail_remark(kept);
    compacted = change_compact(cli, "removed");
    return status == STATUS_DONE ? compacted : status;
}

/* ---- rekey ---------------------------------------------------------------- */

static enum status rekey(struct cli *cli)
{
    bool drop = cli_has(cli, OPTION_DROP);

    if (cli->given_count > (size_t)drop)
        return fail_usage("key", "'rekey' takes none of the options of 'add'");
    return key_rekey(cli, drop, 0);
}

enum status key_run(struct cli *cli)
{
    const char *verb = cli->operands[0];
    bool has_id = cli->operand_count == 2;

    if (strcmp(verb, "rm") == 0 && has_id)
        return take_away(cli);
    if (strcmp(verb, "rm") == 0)
        return fail_usage("key", "'rm' takes the number of a key slot");
    if (has_id)
        return fail_usage("key", "too many arguments");
    if (strcmp(verb, "add") == 0)
        return add(cli);
    if (strcmp(verb, "rekey") == 0)
        return rekey(cli);
    if (strcmp(verb, "ls") != 0)
        return fail_usage("key", "'%s' is none of 'ls', 'add', 'rm' and 'rekey'", verb);
    if (cli->given_count > 0)
        return fail_usage("key", "'ls' takes none of the options of 'add'");
    return list(cli);
}
