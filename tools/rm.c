/*
 * secretctl rm, restore, purge: out of the tree, back into it, and gone for good.
 */
#include "change.h"
#include "commands.h"
#include "duration.h"
#include "unlock.h"

#include <string.h>

enum { OPTION_RECOVERY = CLI_OPTION_FIRST, OPTION_DUE };

const struct cli_option rm_options[] = {
    {OPTION_RECOVERY, "recovery", "D", "how long it can be restored; 0: not at all"},
    {0, NULL, NULL, NULL},
};

const struct cli_option purge_options[] = {
    {OPTION_DUE, "due", NULL, "all that was removed so long ago that it can't be restored"},
    {0, NULL, NULL, NULL},
};

static enum store_err remove_path(struct store *store, const char *path, void *arg)
{
    const uint64_t *recovery_s = arg;
    return store_remove(store, path, (uint32_t)*recovery_s);
}

static enum store_err restore_path(struct store *store, const char *path, void *arg)
{
    (void)arg;
    return store_restore(store, path);
}

static enum store_err purge_path(struct store *store, const char *path, void *arg)
{
    (void)arg;
    return store_purge(store, path);
}

static const struct fail_hint restore_hints[] = {
    {STORE_ERR_NOT_FOUND, "nothing removed from this path can be restored",
     "see 'secretctl ls --deleted'"},
    {STORE_ERR_EXPIRED, "its recovery window is over", NULL},
    {STORE_ERR_EXISTS, NULL, "move what is there away first"},
    {STORE_OK, NULL, NULL},
};

static const struct fail_hint purge_hints[] = {
    {STORE_ERR_NOT_FOUND, "nothing was removed from this path", "see 'secretctl ls --deleted'"},
    {STORE_ERR_EXISTS, "it was not removed", "remove it first with 'secretctl rm'"},
    {STORE_OK, NULL, NULL},
};

enum status restore_run(struct cli *cli)
{
    const struct change change = {"restore", restore_path, NULL, restore_hints};

    return change_paths(cli, &change, cli->operands, cli->operand_count);
}

/*
 * What is to be purged at once is removed before in a commit of its own: a daemon that was away at
 * the time learns of the name from the row that is still there.
 */
enum status rm_run(struct cli *cli)
{
    const char *recovery = cli_value(cli, OPTION_RECOVERY);
    uint64_t recovery_s = STORE_RECOVERY_S;
    const struct change change = {"remove", remove_path, &recovery_s, NULL};
    enum status status;

    if (recovery && strcmp(recovery, "0") == 0)
        recovery_s = 0;
    else if (recovery && !duration_parse(recovery, STORE_RECOVERY_MAX_S, &recovery_s))
        return fail_usage("rm", "'--recovery %s': it is 0, or a duration up to 3650d, such as 30d",
                          recovery);
    status = change_paths(cli, &change, cli->operands, cli->operand_count);
    if (recovery_s == 0 && (status == STATUS_DONE || status == STATUS_UNCONFIRMED)) {
        const struct task task = {"purge", cli->operands[0]};
        enum status purged = change_purge_due(cli, &task);
        status = purged == STATUS_DONE ? status : purged;
    }
    return status;
}

enum status purge_run(struct cli *cli)
{
    const struct change change = {"purge", purge_path, NULL, purge_hints};
    const struct task due_task = {"purge", "what is due"};
    enum status status;

    if (cli_has(cli, OPTION_DUE) && cli->operand_count > 0)
        return fail_usage("purge", "it takes either paths or '--due'");
    if (cli->operand_count > 0)
        status = change_paths(cli, &change, cli->operands, cli->operand_count);
    else
        status = unlock_store(cli, STORE_READ_WRITE);
    if (status == STATUS_DONE && cli_has(cli, OPTION_DUE))
        return change_purge_due(cli, &due_task);
    return status == STATUS_DONE ? change_compact(cli, "purged") : status;
}
