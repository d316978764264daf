/*
 * Transactions of the writing commands. Knows no single one of them.
 */
#include "change.h"

#include "control.h"
#include "unlock.h"

#include <errno.h>
#include <string.h>

#define CONFIRM_MS 5000

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

static void take_confirmation(void *arg, const struct control_reply *reply)
{
    enum status *status = arg;
    const struct task task = {"confirm that the change is shown at",
                              reply->mountpoint[0] ? reply->mountpoint : "a mount"};

    if (reply->error == ETIMEDOUT)
        *status = fail(&task, STATUS_UNCONFIRMED, "see 'secretctl status', and the daemon's log",
                       "it is committed, but the daemon says nothing of it");
    else if (reply->error)
        *status = fail(&task, STATUS_UNCONFIRMED, NULL, "it is committed, but the daemon says: %s",
                       strerror(reply->error));
}

/* Wait until every live mount shows the store as it is now. */
static enum status confirm(struct cli *cli)
{
    const struct task task = {"confirm that the change is shown at", "the mounts"};
    enum status status = STATUS_DONE;
    size_t count;

    enum store_err err = control_ask(cli->store, CONTROL_CONFIRM, store_generation(cli->store),
                                     CONFIRM_MS, take_confirmation, &status, &count);
    if (err != STORE_OK) {
        fail_store(&task, err);
        return STATUS_UNCONFIRMED;
    }
    return status;
}

enum status change_commit(struct cli *cli, const struct task *task)
{
    uint64_t before = store_generation(cli->store);
    enum store_err err = store_commit(cli->store);

    if (err != STORE_OK)
        return fail_store(task, err);
    return cli->no_wait || store_generation(cli->store) == before ? STATUS_DONE : confirm(cli);
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
