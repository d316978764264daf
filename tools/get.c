/*
 * secretctl get: a value to standard output, byte for byte.
 *
 * The only place of the tool that gives a value out. Not by stdio, whose buffer nobody wipes.
 */
#include "commands.h"
#include "record.h"
#include "unlock.h"
#include "versionpick.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_VERSION = CLI_OPTION_FIRST, OPTION_LABEL };

const struct cli_option get_options[] = {
    {OPTION_VERSION, "version", "N", "the version with this number"},
    {OPTION_LABEL, "label", "L", "the version with this label: " VERSION_LABELS},
    {0, NULL, NULL, NULL},
};

static enum status write_value(const struct secbuf *value)
{
    const struct task task = {"write to", "standard output"};
    size_t done = 0;

    while (done < value->len) {
        ssize_t n = write(STDOUT_FILENO, value->data + done, value->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(&task, STATUS_FAILED, NULL, "%s", strerror(errno));
        done += (size_t)n;
    }
    return STATUS_DONE;
}

/* What is given out is on record before. */
static enum status give_out(struct cli *cli, const struct task *task, uint64_t version)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct store_attr attr = {.number = 0};
    enum store_err err = store_stat(cli->store, version, &attr);

    if (err == STORE_OK)
        err = store_read(cli->store, version, &value);
    enum status status = record_read(cli, task, attr.number, err);
    if (status != STATUS_DONE)
        return status;
    return err == STORE_OK ? write_value(&value) : fail_store(task, err);
}

static enum status get(struct cli *cli, const struct task *task, uint32_t number,
                       enum store_label label)
{
    struct store_attr attr;
    uint64_t version;
    enum store_err err = store_resolve(cli->store, task->object, &attr);

    if (err != STORE_OK)
        return fail_store(task, err);
    if (attr.kind == STORE_DIRECTORY)
        return fail_code(task, STORE_ERR_IS_DIRECTORY);
    version = attr.version;
    if (number > 0 || label != STORE_LABEL_CURRENT)
        err = version_pick(cli->store, attr.node, number, label, &version);
    return err == STORE_OK ? give_out(cli, task, version) : fail_store(task, err);
}

enum status get_run(struct cli *cli)
{
    const struct task task = {"get", cli->operands[0]};
    const char *name = cli_value(cli, OPTION_LABEL);
    enum store_label label = STORE_LABEL_CURRENT;
    uint32_t number = 0;
    enum status status;

    if (name && !version_label_parse(name, &label))
        return fail_usage("get", "'--label %s' is none of " VERSION_LABELS, name);
    if (cli_has(cli, OPTION_VERSION) && cli_has(cli, OPTION_LABEL))
        return fail_usage("get", "'--version' and '--label' exclude each other");
    status = cli_number(cli, OPTION_VERSION, 1, UINT32_MAX, &number);
    if (status == STATUS_DONE)
        status = unlock_store(cli, STORE_READ_ONLY);
    return status == STATUS_DONE ? get(cli, &task, number, label) : status;
}
