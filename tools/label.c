/*
 * secretctl label: put a label on another version of a secret, or take it away. No value is read.
 */
#include "change.h"
#include "commands.h"
#include "output.h"
#include "text.h"
#include "versionpick.h"

#include <string.h>

struct move {
    enum store_label label;
    uint32_t number; /* 0: take it away */
};

static enum store_err move_label(struct store *store, const char *path, void *arg)
{
    const struct move *move = arg;
    return store_set_label(store, path, move->label, move->number);
}

static enum status parse(const struct cli *cli, struct move *move)
{
    const char *label = cli->operands[1];
    const char *number = cli->operands[2];
    bool none = strcmp(number, "none") == 0;

    if (!version_label_parse(label, &move->label))
        return fail_usage("label", "'%s' is none of " VERSION_LABELS, label);
    if (none && move->label == STORE_LABEL_CURRENT)
        return fail_usage("label", "one version is always current");
    if (!none && (!text_number(number, UINT32_MAX, &move->number) || move->number == 0))
        return fail_usage("label", "'%s' is no version's number, nor 'none'", number);
    return STATUS_DONE;
}

enum status label_run(struct cli *cli)
{
    const struct task task = {"label a version of", cli->operands[0]};
    struct move move = {.number = 0};
    const struct change change = {task.action, move_label, &move, NULL};
    enum status status = parse(cli, &move);

    if (status == STATUS_DONE)
        status = change_paths(cli, &change, cli->operands, 1);
    if (status == STATUS_DONE && cli->json)
        status = output_labels(cli->store, &task);
    return status;
}
