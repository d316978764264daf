/*
 * Edits of a policy: the options that several commands share, and doing an edit to a node.
 *
 * The order is fixed: owner and group, mode, ACL; so an ACL's mask has the last word.
 */
#include "edit.h"

#include "mode.h"
#include "names.h"

enum status edit_parse_options(const struct cli *cli, struct policy_edit *ret_edit)
{
    const char *command = cli->command->name;
    const char *owner = cli_value(cli, EDIT_OPTION_OWNER);
    const char *group = cli_value(cli, EDIT_OPTION_GROUP);
    const char *mode = cli_value(cli, EDIT_OPTION_MODE);
    const char *acl = cli_value(cli, EDIT_OPTION_ACL);
    struct acl_problem problem;
    uint16_t ignored;

    if (owner && !names_find_user(owner, &ret_edit->uid))
        return fail_usage(command, "there is no user '%s'", owner);
    if (group && !names_find_group(group, &ret_edit->gid))
        return fail_usage(command, "there is no group '%s'", group);
    if (mode && !mode_parse_octal(mode, &ignored))
        return fail_usage(command, "'%s' is not an octal mode from 0 to 0777", mode);
    if (acl && !aclspec_modify(&ret_edit->acl, acl, &problem))
        return fail_usage(command, "ACL entry '%s': %s", problem.entry, problem.reason);
    ret_edit->set_uid = owner != NULL;
    ret_edit->set_gid = group != NULL;
    ret_edit->mode = mode;
    return STATUS_DONE;
}

bool edit_empty(const struct policy_edit *edit)
{
    return !edit->set_uid && !edit->set_gid && !edit->mode && aclspec_empty(&edit->acl);
}

static enum store_err apply(const struct policy_edit *edit, bool directory, struct policy *policy)
{
    uint16_t mode;
    enum store_err err = STORE_OK;

    if (edit->set_uid)
        policy->uid = edit->uid;
    if (edit->set_gid)
        policy->gid = edit->gid;
    if (edit->mode) {
        if (!mode_change(edit->mode, policy->mode, directory, edit->umask, &mode))
            return STORE_ERR_INVALID;
        err = policy_set_mode(policy, mode);
    }
    return err == STORE_OK ? aclspec_apply(&edit->acl, policy) : err;
}

enum store_err edit_path(struct store *store, const char *path, void *edit)
{
    struct store_attr attr;
    struct policy policy;
    enum store_err err = store_resolve(store, path, &attr);

    if (err == STORE_OK)
        err = store_policy(store, attr.node, &policy);
    if (err == STORE_OK)
        err = apply(edit, attr.kind == STORE_DIRECTORY, &policy);
    if (err == STORE_OK)
        err = store_set_policy(store, path, &policy);
    return err;
}
