/*
 * Policy of a node: owner, group, mode and POSIX ACL, with the rules of acl(5). Pure computation.
 *
 * With an extended ACL (named entries or a mask) the group bits of `mode` are the mask, as stat(2)
 * shows them, and `group_perm` holds the owning group's own entry; without one, group_perm is
 * unused and 0. Named entries are kept sorted: users by id, then groups by id.
 */
#ifndef STORE_POLICY_H
#define STORE_POLICY_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_ACL_MAX 64 /* named entries */

enum policy_tag { POLICY_USER = 1, POLICY_GROUP = 2 };

struct policy_entry {
    uint8_t tag;  /* enum policy_tag */
    uint8_t perm; /* rwx bits, 0..7 */
    uint32_t id;  /* uid or gid */
};

struct policy {
    uint32_t uid;
    uint32_t gid;
    uint16_t mode; /* permission bits, 0..0777 */
    bool extended; /* there is an ACL beyond the mode */
    uint8_t group_perm;
    uint8_t entry_count;
    struct policy_entry entries[POLICY_ACL_MAX];
};

/* A plain policy without an ACL. */
struct policy policy_make(uint32_t uid, uint32_t gid, uint16_t mode);

/* Whether `p` keeps the rules above: ranges, order, no entry twice. What comes from disk is asked.
 */
bool policy_valid(const struct policy *p);

bool policy_equal(const struct policy *a, const struct policy *b);

/*
 * The permissions, rwx bits, of a process without capabilities that has these ids: the algorithm of
 * acl(5). in: groups  supplementary ones, `count` of them; the owning group may be among them or
 * not
 */
unsigned policy_permits(const struct policy *p, uint32_t uid, uint32_t gid, const uint32_t *groups,
                        size_t count);

/* chmod(1): with an ACL the group bits become the mask. errors: INVALID beyond 0777. */
STORE_CHECKED enum store_err policy_set_mode(struct policy *p, unsigned mode);

/*
 * Set the entry of a named user or group, adding it where there is none. The first one makes the
 * ACL extended. The mask is not touched: call policy_fit_mask() after the last change, as setfacl
 * does. errors: LIMIT beyond POLICY_ACL_MAX entries, INVALID for a perm beyond 7.
 */
STORE_CHECKED enum store_err policy_set_entry(struct policy *p, enum policy_tag tag, uint32_t id,
                                              unsigned perm);

/* Remove a named entry. errors: NOT_FOUND. */
STORE_CHECKED enum store_err policy_remove_entry(struct policy *p, enum policy_tag tag,
                                                 uint32_t id);

/* The permissions of the owning group itself, whether or not a mask covers them. */
unsigned policy_group(const struct policy *p);
void policy_set_group(struct policy *p, unsigned perm);

/* Set the mask, which makes the ACL extended. */
void policy_set_mask(struct policy *p, unsigned perm);

/* Make the mask the union of the owning group's and all named entries (setfacl's default). */
void policy_fit_mask(struct policy *p);

/* setfacl -b: no ACL any more; the owning group keeps what the mask has left it, and no more. */
void policy_clear_acl(struct policy *p);

#endif
