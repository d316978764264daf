/*
 * Edits of a node's policy, as options and operands ask for them: put, mkdir, chown, chmod,
 * setfacl.
 */
#ifndef TOOLS_EDIT_H
#define TOOLS_EDIT_H

#include "aclspec.h"
#include "cli.h"

/* Zero-initialise. What is not set stays as it is. */
struct policy_edit {
    bool set_uid;
    uint32_t uid;
    bool set_gid;
    uint32_t gid;
    const char *mode; /* octal or symbolic, checked */
    mode_t umask;
    struct aclspec acl;
};

/* Keys and table rows of the options that make an edit. */
enum edit_key {
    EDIT_OPTION_OWNER = CLI_OPTION_FIRST + 100,
    EDIT_OPTION_GROUP,
    EDIT_OPTION_MODE,
    EDIT_OPTION_ACL
};

#define EDIT_OPTIONS                                                                               \
    {EDIT_OPTION_OWNER, "owner", "U", "its owner, a name or number"},                              \
        {EDIT_OPTION_GROUP, "group", "G", "its group, a name or number"},                          \
        {EDIT_OPTION_MODE, "mode", "M", "its mode, octal, 0 to 0777"},                             \
    {                                                                                              \
        EDIT_OPTION_ACL, "acl", "SPEC", "entries for its ACL, as in setfacl(1): u:alice:r,g:web:r" \
    }

/* Read those options. Wrong ones are reported. */
enum status edit_parse_options(const struct cli *cli, struct policy_edit *ret_edit);

bool edit_empty(const struct policy_edit *edit);

/* A change_fn: edit the policy of the node at `path`. in: edit  a struct policy_edit */
STORE_CHECKED enum store_err edit_path(struct store *store, const char *path, void *edit);

#endif
