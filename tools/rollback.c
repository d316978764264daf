/*
 * secretctl rollback: an older version of a secret becomes current again. No new version is made.
 */
#include "change.h"
#include "commands.h"
#include "output.h"

enum { OPTION_TO = CLI_OPTION_FIRST };

const struct cli_option rollback_options[] = {
    {OPTION_TO, "to", "N", "the version with this number (default: the previous one)"},
    {0, NULL, NULL, NULL},
};

static enum store_err roll_back(struct store *store, const char *path, void *number)
{
    return store_set_current(store, path, *(const uint32_t *)number);
}

enum status rollback_run(struct cli *cli)
{
    const struct task task = {"roll back", cli->operands[0]};
    uint32_t number = 0;
    const struct change change = {task.action, roll_back, &number, NULL};
    enum status status = cli_number(cli, OPTION_TO, 1, UINT32_MAX, &number);

    if (status == STATUS_DONE)
        status = change_paths(cli, &change, cli->operands, 1);
    if (status == STATUS_DONE && cli->json)
        status = output_labels(cli->store, &task);
    return status;
}
