/*
 * secretctl upgrade: have the daemons that serve the store go on with the program that is installed
 * now. Needs no key.
 */
#include "commands.h"
#include "control.h"

#include <errno.h>
#include <string.h>

#define UPGRADE_TIMEOUT_MS 30000

struct outcome {
    const struct task *task;
    enum status status;
};

static void take_reply(void *arg, const struct control_reply *reply)
{
    struct outcome *outcome = arg;
    const struct task task = {outcome->task->action,
                              reply->mountpoint[0] ? reply->mountpoint : outcome->task->object};

    if (reply->error == ENOEXEC)
        outcome->status = fail(&task, STATUS_FAILED, "see its log",
                               "the new program does not serve, the one from before goes on");
    else if (reply->error)
        outcome->status = fail(&task, STATUS_FAILED, NULL, "%s", strerror(reply->error));
}

enum status upgrade_run(struct cli *cli)
{
    const struct task task = {"upgrade the daemon of", cli->store_path};
    struct outcome outcome = {&task, STATUS_DONE};
    size_t count = 0;

    enum store_err err = store_open(cli->store_path, STORE_READ_ONLY, &cli->store);
    if (!err)
        err = control_ask(cli->store, CONTROL_UPGRADE, 0, UPGRADE_TIMEOUT_MS, take_reply, &outcome,
                          &count);
    if (err)
        return fail_store(&task, err);
    if (count == 0)
        return fail(&task, STATUS_FAILED, "mount it with secretfs(8)", "no daemon serves it");
    return outcome.status;
}
