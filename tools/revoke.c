/*
 * secretctl revoke, expire: values that are never given out again, and values whose time ends.
 */
#include "change.h"
#include "commands.h"
#include "when.h"

enum { OPTION_VERSION = CLI_OPTION_FIRST };

const struct cli_option revoke_options[] = {
    {OPTION_VERSION, "version", "N", "only the version with this number"},
    {0, NULL, NULL, NULL},
};

static enum store_err revoke(struct store *store, const char *path, void *number)
{
    return store_revoke(store, path, *(const uint32_t *)number);
}

static enum store_err set_expiry(struct store *store, const char *path, void *expires_ns)
{
    return store_set_expiry(store, path, *(const int64_t *)expires_ns);
}

enum status revoke_run(struct cli *cli)
{
    uint32_t number = 0;
    const struct change change = {"revoke", revoke, &number, NULL};
    enum status status = cli_number(cli, OPTION_VERSION, 1, UINT32_MAX, &number);

    return status == STATUS_DONE ? change_paths(cli, &change, cli->operands, 1) : status;
}

enum status expire_run(struct cli *cli)
{
    int64_t expires_ns;
    const struct change change = {"set the time of expiry of", set_expiry, &expires_ns, NULL};

    if (!when_parse_now(cli->operands[1], &expires_ns))
        return fail_usage("expire", "'%s' is not " WHEN_FORMS, cli->operands[1]);
    return change_paths(cli, &change, cli->operands, 1);
}
