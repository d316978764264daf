/*
 * secretctl setfacl, getfacl: ACLs, as setfacl(1) takes and getfacl(1) prints them, so that what is
 * printed here is what getfacl(1) says of the mounted file.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"
#include "edit.h"
#include "mode.h"
#include "names.h"
#include "output.h"
#include "text.h"
#include "unlock.h"

#include <string.h>

const struct cli_option setfacl_options[] = {
    {'m', "modify", "SPEC", "add or change entries"},
    {'x', "remove", "SPEC", "remove entries of named users and groups"},
    {'b', "remove-all", NULL, "remove the ACL, so that only the mode is left"},
    {0, NULL, NULL, NULL},
};

/* In the order given: "-b -m u:alice:r" begins with nothing. */
static enum status parse(const struct cli *cli, struct aclspec *spec)
{
    struct acl_problem problem;

    for (size_t i = 0; i < cli->given_count; i++) {
        const struct cli_given *given = &cli->given[i];
        bool good = true;
        if (given->key == 'b')
            aclspec_clear(spec);
        else if (given->key == 'm')
            good = aclspec_modify(spec, given->arg, &problem);
        else
            good = aclspec_remove(spec, given->arg, &problem);
        if (!good)
            return fail_usage("setfacl", "entry '%s': %s", problem.entry, problem.reason);
    }
    if (aclspec_empty(spec))
        return fail_usage("setfacl", "one of -m, -x and -b is needed");
    return STATUS_DONE;
}

enum status setfacl_run(struct cli *cli)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_LIMIT, "an ACL has at most 64 named entries", NULL},
        {STORE_OK, NULL, NULL},
    };
    struct policy_edit edit = {.set_uid = false};
    const struct change change = {"change the ACL of", edit_path, &edit, hints};
    enum status status = parse(cli, &edit.acl);

    if (status == STATUS_DONE)
        status = change_paths(cli, &change, cli->operands, cli->operand_count);
    return status;
}

/* As getfacl(1): at the fourth tab stop for a person, behind one tab for a program. */
static void print_effective(int entry_len, unsigned effective)
{
    char perm[MODE_PERM_TEXT];
    int tabs = isatty(STDOUT_FILENO) ? 4 - entry_len / 8 : 1;

    mode_print_perm(effective, perm);
    do
        putchar('\t');
    while (--tabs > 0);
    printf("#effective:%s", perm);
}

static void print_line(const struct acl_line *line)
{
    const char *name = "";
    char perm[MODE_PERM_TEXT];
    int len;

    if (line->named)
        name = line->kind == ACL_USER ? names_user(line->id) : names_group(line->id);
    mode_print_perm(line->perm, perm);
    len = printf("%s:%s:%s", line->tag, name, perm);
    if (line->effective != line->perm)
        print_effective(len, line->effective);
    putchar('\n');
}

static void print_acl(const char *path, const struct policy *policy)
{
    struct acl_line lines[ACL_LINES_MAX];
    size_t count = aclspec_lines(policy, lines);

    printf("# file: ");
    text_print(stdout, path);
    printf("\n# owner: %s\n# group: %s\n", names_user(policy->uid), names_group(policy->gid));
    for (size_t i = 0; i < count; i++)
        print_line(&lines[i]);
    putchar('\n');
}

static json_t *acl_json(const char *path, const struct policy *policy)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:I, s:o}", "path", path, "owner",
                     names_user(policy->uid), "uid", (json_int_t)policy->uid, "group",
                     names_group(policy->gid), "gid", (json_int_t)policy->gid, "acl_entries",
                     output_json_acl(policy));
}

/* Print one, or add it to the array. */
static enum status get_one(const struct cli *cli, const struct task *task, json_t *array)
{
    AUTO_FREE char *path = store_plain_path(task->object);
    struct store_attr attr;
    struct policy policy;
    enum store_err err = store_resolve(cli->store, task->object, &attr);

    if (err == STORE_OK)
        err = store_policy(cli->store, attr.node, &policy);
    if (err != STORE_OK)
        return fail_store(task, err);
    if (!path)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    if (!array)
        print_acl(path, &policy);
    else if (json_array_append_new(array, acl_json(path, &policy)) != 0)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    return STATUS_DONE;
}

enum status getfacl_run(struct cli *cli)
{
    enum status status = unlock_store(cli, STORE_READ_ONLY);
    json_t *array = cli->json ? json_array() : NULL;
    struct task task = {"get the ACL of", cli->operands[0]};

    for (int i = 0; status == STATUS_DONE && i < cli->operand_count; i++) {
        task.object = cli->operands[i];
        status = get_one(cli, &task, array);
    }
    if (status == STATUS_DONE && cli->json)
        return output_json(&task, array);
    json_decref(array);
    return status;
}
