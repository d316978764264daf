/*
 * secretctl chmod: the mode, octal or symbolic. With an ACL the group bits are its mask, as for any
 * file.
 */
#include "change.h"
#include "commands.h"
#include "edit.h"
#include "mode.h"

enum status chmod_run(struct cli *cli)
{
    struct policy_edit edit = {.mode = cli->operands[0], .umask = cli->umask};
    const struct change change = {"change the mode of", edit_path, &edit, NULL};
    uint16_t ignored;

    if (!mode_change(edit.mode, 0, false, edit.umask, &ignored))
        return fail_usage("chmod", "'%s' is not a mode, such as 0440 or g+r", edit.mode);
    return change_paths(cli, &change, cli->operands + 1, cli->operand_count - 1);
}
