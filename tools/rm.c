/*
 * secretctl rm, restore, purge: out of the tree, back into it, and gone for good.
 */
#include "change.h"
#include "commands.h"
#include "unlock.h"

static enum store_err remove_path(struct store *store, const char *path, void *arg)
{
    (void)arg;
    return store_remove(store, path);
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
    {STORE_ERR_EXISTS, NULL, "move what is there away first"},
    {STORE_OK, NULL, NULL},
};

static const struct fail_hint purge_hints[] = {
    {STORE_ERR_NOT_FOUND, "nothing was removed from this path", "see 'secretctl ls --deleted'"},
    {STORE_ERR_EXISTS, "it was not removed", "remove it first with 'secretctl rm'"},
    {STORE_OK, NULL, NULL},
};

enum status rm_run(struct cli *cli)
{
    const struct change change = {"remove", remove_path, NULL, NULL};

    return change_paths(cli, &change, cli->operands, cli->operand_count);
}

enum status restore_run(struct cli *cli)
{
    const struct change change = {"restore", restore_path, NULL, restore_hints};

    return change_paths(cli, &change, cli->operands, cli->operand_count);
}

/* The purge itself is done and durable by now; what this can't do yet, a later purge can. */
static enum status compact(const struct cli *cli)
{
    const struct task task = {"empty the write-ahead log of", cli->store_path};
    enum store_err err = store_compact(cli->store);

    if (err == STORE_ERR_BUSY) {
        fail_remark("purged, but what remains of it, encrypted, stays in the write-ahead log until "
                    "its readers are gone; run 'secretctl purge' again later");
        return STATUS_DONE;
    }
    return err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
}

enum status purge_run(struct cli *cli)
{
    const struct change change = {"purge", purge_path, NULL, purge_hints};
    enum status status;

    if (cli->operand_count > 0)
        status = change_paths(cli, &change, cli->operands, cli->operand_count);
    else
        status = unlock_store(cli, STORE_READ_WRITE);
    return status == STATUS_DONE ? compact(cli) : status;
}
