/*
 * secretctl chown: owner and group, in the forms of chown(1): OWNER, OWNER:GROUP, OWNER: (with the
 * owner's login group) and :GROUP.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"
#include "edit.h"
#include "names.h"

#include <string.h>

static enum status parse_owner(const char *owner, bool with_login_group, struct policy_edit *edit)
{
    edit->set_uid = true;
    if (!names_find_user(owner, &edit->uid))
        return fail_usage("chown", "there is no user '%s'", owner);
    if (!with_login_group)
        return STATUS_DONE;
    edit->set_gid = true;
    if (!names_login_group(edit->uid, &edit->gid))
        return fail_usage("chown", "user '%s' has no login group", owner);
    return STATUS_DONE;
}

static enum status parse(const char *text, struct policy_edit *edit)
{
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    const char *group = colon ? colon + 1 : "";
    AUTO_FREE char *owner = strndup(text, len);

    if (!owner)
        return fail_code(&(struct task){"change the owner to", text}, STORE_ERR_NO_MEMORY);
    if (!owner[0] && !group[0])
        return fail_usage("chown", "'%s' names neither an owner nor a group", text);
    if (group[0]) {
        edit->set_gid = true;
        if (!names_find_group(group, &edit->gid))
            return fail_usage("chown", "there is no group '%s'", group);
    }
    return owner[0] ? parse_owner(owner, colon && !group[0], edit) : STATUS_DONE;
}

enum status chown_run(struct cli *cli)
{
    struct policy_edit edit = {.set_uid = false};
    const struct change change = {"change the owner of", edit_path, &edit, NULL};
    enum status status = parse(cli->operands[0], &edit);

    if (status == STATUS_DONE)
        status = change_paths(cli, &change, cli->operands + 1, cli->operand_count - 1);
    return status;
}
