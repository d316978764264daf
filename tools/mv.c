/*
 * secretctl mv: rename, or move into a directory, by the rules of mv(1); but nothing is
 * overwritten.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"

#include <string.h>

/* Where `from` goes: into `to` if that is a directory, or has to be one. */
static enum store_err target(struct store *store, const char *from, const char *to, char **ret_path)
{
    AUTO_FREE char *clean = store_plain_path(from);
    const char *slash = clean ? strrchr(clean, '/') : NULL;
    size_t len = strlen(to);
    bool must_be = len > 0 && to[len - 1] == '/';
    struct store_attr attr;
    enum store_err err = store_resolve(store, to, &attr);

    *ret_path = NULL;
    if (err != STORE_OK && (must_be || err != STORE_ERR_NOT_FOUND))
        return err;
    if (err == STORE_OK && attr.kind == STORE_DIRECTORY) {
        if (clean && asprintf(ret_path, "%s/%s", to, slash ? slash + 1 : clean) < 0)
            *ret_path = NULL;
    } else if (must_be) {
        return STORE_ERR_NOT_DIRECTORY;
    } else {
        *ret_path = strdup(to);
    }
    return *ret_path ? STORE_OK : STORE_ERR_NO_MEMORY;
}

static enum status move(const struct cli *cli, const struct task *from_task,
                        const struct task *to_task)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_NOT_FOUND, "there is no such directory", "make it with 'secretctl mkdir'"},
        {STORE_OK, NULL, NULL},
    };
    AUTO_FREE char *path = NULL;
    struct store_attr attr;
    enum store_err err = store_resolve(cli->store, from_task->object, &attr);

    if (err != STORE_OK)
        return fail_store(from_task, err);
    err = target(cli->store, from_task->object, to_task->object, &path);
    if (err == STORE_OK)
        err = store_move(cli->store, from_task->object, path);
    return err == STORE_OK ? STATUS_DONE : fail_hinted(to_task, err, hints);
}

enum status mv_run(struct cli *cli)
{
    const struct task from_task = {"move", cli->operands[0]};
    AUTO_FREE char *action = NULL;
    struct task to_task = {NULL, cli->operands[1]};
    enum status status;

    if (asprintf(&action, "move '%s' to", cli->operands[0]) < 0) {
        action = NULL;
        return fail_code(&from_task, STORE_ERR_NO_MEMORY);
    }
    to_task.action = action;
    status = change_begin(cli, &from_task);
    if (status == STATUS_DONE)
        status = move(cli, &from_task, &to_task);
    return status == STATUS_DONE ? change_commit(cli, &to_task) : status;
}
