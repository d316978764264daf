/*
 * secretctl mkdir: directories. Owner, group and mode are for the one named, not for those that -p
 * makes on the way, as with mkdir(1).
 */
#include "change.h"
#include "commands.h"
#include "edit.h"
#include "paths.h"

const struct cli_option mkdir_options[] = {
    {'p', "parents", NULL, "make missing directories above it; an existing one is no error"},
    EDIT_OPTIONS,
    {0, NULL, NULL, NULL},
};

struct mkdir_request {
    bool parents;
    struct policy_edit edit;
};

/* With -p: fine if what exists is a directory, which is then left as it is. */
static enum store_err accept_existing(struct store *store, const char *path)
{
    struct store_attr attr;
    enum store_err err = store_resolve(store, path, &attr);

    if (err != STORE_OK)
        return err;
    return attr.kind == STORE_DIRECTORY ? STORE_OK : STORE_ERR_EXISTS;
}

static enum store_err make(struct store *store, const char *path, void *arg)
{
    struct mkdir_request *request = arg;
    enum store_err err = STORE_OK;

    if (request->parents)
        err = paths_make_parents(store, path);
    if (err == STORE_OK)
        err = store_mkdir(store, path);
    if (err == STORE_ERR_EXISTS && request->parents)
        return accept_existing(store, path);
    if (err == STORE_OK && !edit_empty(&request->edit))
        err = edit_path(store, path, &request->edit);
    return err;
}

enum status mkdir_run(struct cli *cli)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_NOT_FOUND, "there is no such directory above it", "use -p"},
        {STORE_OK, NULL, NULL},
    };
    struct mkdir_request request = {.parents = cli_has(cli, 'p')};
    const struct change change = {"make the directory", make, &request, hints};
    enum status status = edit_parse_options(cli, &request.edit);

    if (status == STATUS_DONE)
        status = change_paths(cli, &change, cli->operands, cli->operand_count);
    return status;
}
