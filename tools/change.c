/*
 * Transactions of the writing commands. Knows no single one of them.
 */
#include "change.h"

#include "unlock.h"

enum status change_begin(struct cli *cli, const struct task *task)
{
    enum status status = STATUS_DONE;
    enum store_err err;

    if (!cli->store)
        status = unlock_store(cli, STORE_READ_WRITE);
    if (status != STATUS_DONE)
        return status;
    err = store_begin(cli->store);
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

enum status change_commit(struct cli *cli, const struct task *task)
{
    enum store_err err = store_commit(cli->store);

    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

enum status change_paths(struct cli *cli, const struct change *change, char **paths, int count)
{
    struct task task = {change->action, paths[0]};
    enum status status = change_begin(cli, &task);

    if (status != STATUS_DONE)
        return status;
    for (int i = 0; i < count; i++) {
        enum store_err err;
        task.object = paths[i];
        err = change->apply(cli->store, paths[i], change->arg);
        if (err != STORE_OK) {
            status = fail_hinted(&task, err, change->hints);
            store_rollback(cli->store);
            return status;
        }
    }
    return change_commit(cli, &task);
}
