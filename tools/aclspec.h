/*
 * ACLs as text: what setfacl(1) takes, as changes to a policy; and a policy as the lines getfacl(1)
 * prints. Knows no command line and no path.
 */
#ifndef TOOLS_ACLSPEC_H
#define TOOLS_ACLSPEC_H

#include "policy.h"

#include <stddef.h>

#define ACLSPEC_MAX (2 * POLICY_ACL_MAX + 4) /* changes at once */

enum acl_tag { ACL_OWNER, ACL_USER, ACL_OWNING_GROUP, ACL_GROUP, ACL_MASK, ACL_OTHER };

struct acl_change {
    enum acl_tag tag;
    bool remove;
    uint8_t perm;
    uint32_t id; /* of ACL_USER and ACL_GROUP */
};

/* Zero-initialise. Changes in the order they were given. */
struct aclspec {
    bool clear; /* -b: forget the ACL, and what was given before */
    bool mask_given;
    size_t count;
    struct acl_change changes[ACLSPEC_MAX];
};

/* Why a spec was refused, and the part of it that was, for people. */
struct acl_problem {
    const char *reason;
    char entry[128];
};

/* Add the changes of `text`, a list as of -m or, to remove, of -x. False with `ret_problem` filled.
 */
bool aclspec_modify(struct aclspec *spec, const char *text, struct acl_problem *ret_problem);
bool aclspec_remove(struct aclspec *spec, const char *text, struct acl_problem *ret_problem);

/* -b */
void aclspec_clear(struct aclspec *spec);

bool aclspec_empty(const struct aclspec *spec);

/*
 * Do the changes. As setfacl(1) does, the mask becomes the union of what it covers unless it was
 * given, and removing what isn't there is no error. errors: LIMIT, INVALID
 */
STORE_CHECKED enum store_err aclspec_apply(const struct aclspec *spec, struct policy *policy);

/* One entry of a policy's ACL, the ones of the mode included. */
struct acl_line {
    const char *tag; /* "user", "group", "mask", "other" */
    bool named;
    enum acl_tag kind;
    uint32_t id;        /* of named ones */
    unsigned perm;      /* as written */
    unsigned effective; /* what the mask leaves of it */
};

#define ACL_LINES_MAX (POLICY_ACL_MAX + 4)

/* All entries in getfacl(1)'s order. Returns how many. */
size_t aclspec_lines(const struct policy *policy, struct acl_line ret_lines[static ACL_LINES_MAX]);

#endif
