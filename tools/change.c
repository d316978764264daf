/*
 * Transactions of the writing commands. Knows no single one of them.
 */
#include "change.h"

#include "auto.h"
#include "control.h"
#include "unlock.h"

#include <errno.h>
#include <string.h>

#define CONFIRM_MS 5000
#define COMPACT_IN_PASSING_MS 100
#define PURGED_IN_PASSING 100 /* nodes, by a command that does something else */
#define PURGED_AT_ONCE 1000   /* and in one commit that is for nothing else */

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

enum status change_confirm(struct cli *cli)
{
    const struct task task = {"confirm that the change is shown at", "the mounts"};
    enum status status = STATUS_DONE;
    enum store_err err;
    size_t count;

    if (cli->no_wait)
        return STATUS_DONE;
    err = control_ask(cli->store, CONTROL_CONFIRM, store_generation(cli->store), CONFIRM_MS,
                      take_confirmation, &status, &count);
    if (err != STORE_OK) {
        fail_store(&task, err);
        return STATUS_UNCONFIRMED;
    }
    return status;
}

/* Commit, and with it the purge of up to `max` nodes whose recovery window is over. */
static enum status commit(struct cli *cli, const struct task *task, size_t max, size_t *ret_purged)
{
    uint64_t before = store_generation(cli->store);
    enum store_err err = store_purge_due(cli->store, max, ret_purged);
    enum status status;

    if (err == STORE_OK)
        err = store_commit(cli->store);
    if (err != STORE_OK) {
        status = fail_store(task, err);
        store_rollback(cli->store);
        return status;
    }
    return store_generation(cli->store) == before ? STATUS_DONE : change_confirm(cli);
}

static enum store_err compact(struct cli *cli, int wait_ms, enum status *ret_status)
{
    const struct task task = {"empty the write-ahead log of", cli->store_path};
    enum store_err err = store_compact(cli->store, wait_ms);

    *ret_status = err == STORE_OK || err == STORE_ERR_BUSY ? STATUS_DONE : fail_store(&task, err);
    return err;
}

/* It is done and durable by then. */
static void say_what_is_left(const char *done)
{
    AUTO_FREE char *line = NULL;

    if (asprintf(
            &line,
            "%s, but what remains of it, encrypted, stays in the write-ahead log until its "
            "readers are gone; the next command that writes, or 'secretctl purge', finishes it "
            "then",
            done) < 0)
        line = NULL;
    if (line)
        fail_remark(line);
}

enum status change_compact(struct cli *cli, const char *done)
{
    enum status status;

    if (compact(cli, -1, &status) == STORE_ERR_BUSY)
        say_what_is_left(done);
    return status;
}

/* What failed first, or was not confirmed. */
static enum status worse(enum status a, enum status b)
{
    return a == STATUS_DONE ? b : a;
}

static bool is_committed(enum status status)
{
    return status == STATUS_DONE || status == STATUS_UNCONFIRMED;
}

enum status change_commit(struct cli *cli, const struct task *task)
{
    size_t purged = 0;
    enum status status = commit(cli, task, PURGED_IN_PASSING, &purged);
    enum status compacted = STATUS_DONE;

    if (!is_committed(status) || !store_compact_due(cli->store))
        return status;
    if (compact(cli, COMPACT_IN_PASSING_MS, &compacted) == STORE_ERR_BUSY)
        compacted = STATUS_DONE; /* the next one tries again */
    return worse(status, compacted);
}

enum status change_purge_due(struct cli *cli, const struct task *task)
{
    enum status status = STATUS_DONE;
    struct store_stats stats;
    size_t purged = 0;
    bool any = store_compact_due(cli->store);

    store_stats(cli->store, &stats);
    if (stats.deleted == 0)
        return any ? change_compact(cli, "purged") : STATUS_DONE;
    do {
        enum status last = change_begin(cli, task);
        if (last == STATUS_DONE)
            last = commit(cli, task, PURGED_AT_ONCE, &purged);
        if (!is_committed(last))
            return last;
        status = worse(status, last);
        any |= purged > 0;
    } while (purged == PURGED_AT_ONCE);
    return any ? worse(status, change_compact(cli, "purged")) : status;
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
