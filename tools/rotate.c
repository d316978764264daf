/*
 * secretctl rotate: a new version from each secret's own generator or rotator, for secrets that are
 * named or for all that are due. 'secretctl rotation' says how.
 *
 * Each secret is a commit of its own, so that what a run is killed at, or fails at, costs no other.
 * What is due is asked again inside the commit's transaction: it may have been rotated, changed or
 * removed since the run looked.
 */
#include "audit.h"
#include "auto.h"
#include "change.h"
#include "commands.h"
#include "find.h"
#include "grow.h"
#include "output.h"
#include "rotate_steps.h"
#include "runlock.h"
#include "schedule.h"
#include "unlock.h"

#include <string.h>
#include <unistd.h>

#define DUE "what is due"

enum { OPTION_DUE = CLI_OPTION_FIRST, OPTION_DROP };

const struct cli_option rotate_options[] = {
    {OPTION_DUE, "due", NULL, "all secrets whose rotation is due; one such run at a time"},
    {OPTION_DROP, "drop", NULL, "give up the rotation that has begun, and what is pending"},
    {0, NULL, NULL, NULL},
};

struct run {
    struct cli *cli;
    json_t *rotated;    /* what --json prints */
    enum status status; /* of the first that failed */
    int lock;           /* -1: not taken yet */
};

/* A failure is kept; the run goes on. */
static void keep(struct run *run, enum status status)
{
    if (run->status == STATUS_DONE)
        run->status = status;
}

/* ---- One secret ---------------------------------------------------------- */

static void keep_version(struct run *run, const char *object, uint32_t number)
{
    AUTO_FREE char *path = store_plain_path(object);

    json_array_append_new(run->rotated, json_pack("{s:s, s:I}", "path", path ? path : "", "version",
                                                  (json_int_t)number));
}

/* One rotator at a time in a store. */
static enum status take_lock(struct run *run, const struct task *task)
{
    if (run->lock >= 0)
        return STATUS_DONE;
    return runlock_take(task, store_path(run->cli->store), &run->lock);
}

static enum status generate(const struct task *task, const struct store_rotation *rotation,
                            struct secbuf *ret_value)
{
    if (!rotation->generator[0])
        return fail(task, STATUS_FAILED,
                    "set one with 'secretctl rotation PATH --generate SPEC', or use 'put'",
                    "it has no generator");
    return rotate_generate(task, rotation->generator, ret_value);
}

/* The new version, inside a transaction. A short value may be the same by chance: it counts. */
static enum status renew(struct store *store, const struct task *task,
                         const struct store_rotation *rotation, uint32_t *ret_number)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    enum status status = generate(task, rotation, &value);
    enum store_err err;

    if (status != STATUS_DONE)
        return status;
    err = store_put(store, task->object, &value, true, ret_number);
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

static void rotate_by_generator(struct run *run, const struct task *task,
                                const struct store_rotation *rotation)
{
    uint32_t number = 0;
    enum status status = renew(run->cli->store, task, rotation, &number);

    if (status != STATUS_DONE) {
        store_rollback(run->cli->store);
        keep(run, status);
        return;
    }
    status = change_commit(run->cli, task);
    keep(run, status);
    if (status == STATUS_DONE || status == STATUS_UNCONFIRMED)
        keep_version(run, task->object, number);
}

static void rotate_by_rotator(struct run *run, const struct task *task, uint64_t node, bool anew)
{
    uint32_t number = 0;
    enum status status = take_lock(run, task);

    if (status == STATUS_DONE)
        status = rotate_steps(run->cli, task, node, anew, &number);
    keep(run, status);
    if (number)
        keep_version(run, task->object, number);
}

/* Rotate the secret that `task` names in the transaction that is open, and end that. `anew` is for
 * rotate_steps(). */
static void rotate(struct run *run, const struct task *task, bool anew)
{
    struct store_details details;
    struct store_attr attr;
    enum status status = find_secret(run->cli->store, task, task->object, &attr, &details);

    if (status == STATUS_DONE && !details.rotation.rotator[0]) {
        rotate_by_generator(run, task, &details.rotation);
        return;
    }
    store_rollback(run->cli->store);
    if (status == STATUS_DONE)
        rotate_by_rotator(run, task, attr.node, anew);
    else
        keep(run, status);
}

/* Give up the rotation of the secret that `task` names, likewise. */
static void drop(struct run *run, const struct task *task)
{
    enum status status = take_lock(run, task);

    if (status == STATUS_DONE)
        status = rotate_drop(run->cli->store, task, task->object);
    if (status == STATUS_DONE)
        status = change_commit(run->cli, task);
    else
        store_rollback(run->cli->store);
    keep(run, status);
}

static void rotate_paths(struct run *run, char **paths, int count)
{
    for (int i = 0; i < count; i++) {
        bool dropping = cli_has(run->cli, OPTION_DROP);
        const struct task task = {dropping ? "give up the rotation of" : "rotate", paths[i]};
        enum status status = change_begin(run->cli, &task);
        if (status != STATUS_DONE)
            keep(run, status);
        else if (dropping)
            drop(run, &task);
        else
            rotate(run, &task, true);
    }
}

/* ---- What is due --------------------------------------------------------- */

struct due {
    uint64_t *nodes;
    size_t count;
    size_t capacity;
    bool failed; /* for want of memory */
};

/* What has begun is gone on with, even where it was begun by hand. */
static bool to_do(const struct store_details *details)
{
    return schedule_of(details).overdue || details->rotation.step != STORE_STEP_NONE;
}

static bool add_due(void *arg, uint64_t node, const struct store_details *details)
{
    struct due *due = arg;
    uint64_t *nodes;

    if (!to_do(details))
        return true;
    nodes = grow(due->nodes, due->count, &due->capacity, sizeof(*nodes));
    due->failed = !nodes;
    if (!nodes)
        return false;
    due->nodes = nodes;
    due->nodes[due->count++] = node;
    return true;
}

/* Whether there is something to do at `node` in the transaction that is open, and its time has
 * come; then where it is. */
static enum store_err still_due(struct store *store, uint64_t node, bool *ret_due,
                                bool *ret_overdue, char ret_path[static STORE_PATH_MAX])
{
    struct store_details details;
    struct store_attr attr;
    enum store_err err = store_stat(store, node, &attr);

    *ret_due = *ret_overdue = false;
    if (err == STORE_ERR_NOT_FOUND || (err == STORE_OK && attr.deleted))
        return STORE_OK;
    if (err == STORE_OK)
        err = store_details(store, node, &details);
    if (err == STORE_OK)
        err = store_path_below(store, STORE_ROOT_ID, node, ret_path);
    if (err == STORE_OK) {
        *ret_due = to_do(&details);
        *ret_overdue = schedule_of(&details).overdue;
    }
    return err;
}

static void rotate_due(struct run *run, uint64_t node)
{
    const struct task due_task = {"rotate", DUE};
    char path[STORE_PATH_MAX];
    const struct task task = {"rotate", path};
    bool due;
    bool overdue;
    enum status status = change_begin(run->cli, &due_task);
    enum store_err err;

    if (status != STATUS_DONE) {
        keep(run, status);
        return;
    }
    err = still_due(run->cli->store, node, &due, &overdue, path);
    if (err == STORE_OK && due) {
        rotate(run, &task, overdue);
        return;
    }
    store_rollback(run->cli->store);
    if (err != STORE_OK)
        keep(run, fail_store(&due_task, err));
}

/* And purge what was removed long ago, as who runs this by a timer may run nothing else. */
static void rotate_all_due(struct run *run)
{
    const struct task task = {"rotate", DUE};
    const struct task purge_task = {"purge", DUE};
    struct due due = {.nodes = NULL};
    enum status status = take_lock(run, &task);
    enum store_err err;

    if (status != STATUS_DONE) {
        keep(run, status);
        return;
    }
    err = store_each_rotation(run->cli->store, add_due, &due);
    if (due.failed)
        keep(run, fail_code(&task, STORE_ERR_NO_MEMORY));
    else if (err != STORE_OK)
        keep(run, fail_store(&task, err));
    else
        for (size_t i = 0; i < due.count; i++)
            rotate_due(run, due.nodes[i]);
    free(due.nodes);
    keep(run, change_purge_due(run->cli, &purge_task));
}

enum status rotate_run(struct cli *cli)
{
    const struct task task = {"rotate", cli->operand_count ? cli->operands[0] : DUE};
    struct run run = {.cli = cli, .lock = -1};
    enum status status;

    if (cli_has(cli, OPTION_DUE) == (cli->operand_count > 0))
        return fail_usage("rotate", "it takes either paths or '--due'");
    if (cli_has(cli, OPTION_DUE) && cli_has(cli, OPTION_DROP))
        return fail_usage("rotate", "'--drop' goes with paths");
    status = unlock_store(cli, STORE_READ_WRITE);
    if (status != STATUS_DONE)
        return status;
    audit_use_event(cli->store, AUDIT_ROTATE);
    run.rotated = json_array();
    if (cli->operand_count > 0)
        rotate_paths(&run, cli->operands, cli->operand_count);
    else
        rotate_all_due(&run);
    if (cli->json)
        keep(&run, output_json(&task, run.rotated));
    else
        json_decref(run.rotated);
    if (run.lock >= 0)
        close(run.lock);
    return run.status;
}
