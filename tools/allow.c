/*
 * secretctl allow, disallow: the units and executables that alone may open a secret, or what is
 * below a directory.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPTION_UNIT = CLI_OPTION_FIRST, OPTION_EXE, OPTION_ALL };

const struct cli_option allow_options[] = {
    {OPTION_UNIT, "unit", "NAME", "a unit of systemd's system manager, such as nginx.service"},
    {OPTION_EXE, "exe", "FILE", "an executable, such as /usr/sbin/nginx"},
    {0, NULL, NULL, NULL},
};

const struct cli_option disallow_options[] = {
    {OPTION_UNIT, "unit", "NAME", "take this unit off the list"},
    {OPTION_EXE, "exe", "FILE", "take this executable off the list"},
    {OPTION_ALL, "all", NULL, "remove both lists, so that whoever its policy lets may open it"},
    {0, NULL, NULL, NULL},
};

static enum store_rule_kind kind_of(const struct cli_given *given)
{
    return given->key == OPTION_UNIT ? STORE_RULE_UNIT : STORE_RULE_EXECUTABLE;
}

/* The path that the kernel shows of a process that runs the file: without symlinks. The caller
 * frees it. Where there is no such file here, the store may be for another machine. */
static char *real_path(const char *path)
{
    char *real = realpath(path, NULL);
    return real || errno == ENOMEM ? real : strdup(path);
}

/* What runs of a script is its interpreter, so a rule that names the script would let nobody in. */
static bool is_script(const char *path)
{
    char head[2];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool script =
        fd >= 0 && read(fd, head, sizeof head) == sizeof head && memcmp(head, "#!", 2) == 0;

    if (fd >= 0)
        close(fd);
    return script;
}

static enum status check_executable(const char *path)
{
    struct stat st;

    if (!store_rule_valid(STORE_RULE_EXECUTABLE, path))
        return fail_usage(
            "allow", "'%s' is no absolute path without '.' and '..', of 1024 bytes at most", path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return fail_usage("allow", "'%s' is no file", path);
    if (is_script(path))
        return fail_usage("allow", "'%s' is a script, and what runs is its interpreter", path);
    return STATUS_DONE;
}

/* Check what is to be allowed, before the store is opened. */
static enum status check(const struct cli *cli)
{
    enum status status = STATUS_DONE;

    if (cli->given_count == 0)
        return fail_usage("allow", "one of --unit and --exe is needed");
    for (size_t i = 0; i < cli->given_count && status == STATUS_DONE; i++) {
        const char *text = cli->given[i].arg;
        if (kind_of(&cli->given[i]) == STORE_RULE_EXECUTABLE)
            status = check_executable(text);
        else if (!store_rule_valid(STORE_RULE_UNIT, text))
            status = fail_usage(
                "allow", "'%s' is no unit that programs run in, such as nginx.service", text);
    }
    return status;
}

static enum store_err add(struct store_rules *rules, const struct cli_given *given)
{
    enum store_rule_kind kind = kind_of(given);
    AUTO_FREE char *text =
        kind == STORE_RULE_EXECUTABLE ? real_path(given->arg) : strdup(given->arg);

    return text ? store_rules_add(rules, kind, text) : STORE_ERR_NO_MEMORY;
}

/* By the path that was given, or, as 'allow' does, by the real one. */
static enum store_err take_away(struct store_rules *rules, const struct cli_given *given)
{
    enum store_rule_kind kind = kind_of(given);
    enum store_err err = store_rules_remove(rules, kind, given->arg);

    if (err == STORE_ERR_NOT_FOUND && kind == STORE_RULE_EXECUTABLE) {
        AUTO_FREE char *real = real_path(given->arg);
        err = real ? store_rules_remove(rules, kind, real) : STORE_ERR_NO_MEMORY;
    }
    return err == STORE_ERR_NOT_FOUND ? STORE_ERR_INVALID : err;
}

static enum store_err edit(const struct cli *cli, bool allow, struct store_rules *rules)
{
    enum store_err err = STORE_OK;

    if (!allow && cli_has(cli, OPTION_ALL))
        *rules = (struct store_rules){0};
    else
        for (size_t i = 0; i < cli->given_count && err == STORE_OK; i++)
            err = allow ? add(rules, &cli->given[i]) : take_away(rules, &cli->given[i]);
    return err;
}

static enum store_err edit_rules(struct store *store, const char *path, const struct cli *cli,
                                 bool allow)
{
    struct store_attr attr;
    struct store_details details;
    enum store_err err = store_resolve(store, path, &attr);

    if (err == STORE_OK)
        err = store_details(store, attr.node, &details);
    if (err == STORE_OK)
        err = edit(cli, allow, &details.rules);
    if (err == STORE_OK)
        err = store_set_rules(store, path, &details.rules);
    return err;
}

static enum store_err allow_path(struct store *store, const char *path, void *cli)
{
    return edit_rules(store, path, cli, true);
}

static enum store_err disallow_path(struct store *store, const char *path, void *cli)
{
    return edit_rules(store, path, cli, false);
}

enum status allow_run(struct cli *cli)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_LIMIT, "there are at most 16 units and 16 executables, of 4096 bytes in all",
         NULL},
        {STORE_ERR_INVALID, "the real path of an executable is too long, or is not UTF-8", NULL},
        {STORE_OK, NULL, NULL},
    };
    const struct change change = {"set who alone may open", allow_path, cli, hints};
    enum status status = check(cli);

    if (status == STATUS_DONE)
        status = change_paths(cli, &change, cli->operands, cli->operand_count);
    return status;
}

enum status disallow_run(struct cli *cli)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_INVALID, "it has no such unit or executable", "see 'secretctl show'"},
        {STORE_OK, NULL, NULL},
    };
    const struct change change = {"set who alone may open", disallow_path, cli, hints};
    bool all = cli_has(cli, OPTION_ALL);

    if (all ? cli->given_count > 1 : cli->given_count == 0)
        return fail_usage("disallow", "--unit and --exe are needed, or --all alone");
    return change_paths(cli, &change, cli->operands, cli->operand_count);
}
