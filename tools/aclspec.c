/*
 * ACLs as text, by the grammar of setfacl(1): tag:qualifier:permissions, separated by commas; and
 * the rules of acl(5) on what the mask covers.
 *
 * Knows no command line and no path.
 */
#include "aclspec.h"

#include "names.h"

#include <stdio.h>
#include <string.h>

/* The three fields of an entry; `perm` is NULL where there were fewer. */
struct fields {
    char text[96];
    const char *tag;
    const char *qualifier;
    const char *perm;
};

static bool is_one_of(const char *text, const char *letter, const char *word)
{
    return strcmp(text, letter) == 0 || strcmp(text, word) == 0;
}

/* NULL, or what is wrong. */
static const char *split(const char *entry, size_t len, struct fields *ret)
{
    char *rest = ret->text;

    if (len >= sizeof(ret->text))
        return "it is too long";
    memcpy(ret->text, entry, len);
    ret->text[len] = '\0';
    ret->tag = strsep(&rest, ":");
    ret->qualifier = strsep(&rest, ":");
    ret->perm = strsep(&rest, ":");
    if (is_one_of(ret->tag, "d", "default"))
        return "default ACLs don't exist here: new secrets inherit nothing";
    if (rest)
        return "it has too many fields";
    if (!ret->qualifier)
        return "it is not of the form u:NAME:PERMISSIONS";
    return NULL;
}

/* Letters and dashes in any order, or one octal digit. */
static bool parse_perm(const char *text, uint8_t *ret_perm)
{
    unsigned perm = 0;

    if (text[0] >= '0' && text[0] <= '7' && text[1] == '\0') {
        *ret_perm = (uint8_t)(text[0] - '0');
        return true;
    }
    if (!text[0] || strlen(text) > 3)
        return false;
    for (const char *s = text; *s; s++) {
        unsigned bit = *s == 'r' ? 4 : *s == 'w' ? 2 : *s == 'x' ? 1 : 0;
        if (bit == 0 && *s != '-')
            return false;
        perm |= bit;
    }
    *ret_perm = (uint8_t)perm;
    return true;
}

static const char *parse_named(const char *qualifier, bool user, struct acl_change *change)
{
    if (!qualifier[0]) {
        change->tag = user ? ACL_OWNER : ACL_OWNING_GROUP;
        return NULL;
    }
    change->tag = user ? ACL_USER : ACL_GROUP;
    if (user)
        return names_find_user(qualifier, &change->id) ? NULL : "there is no such user";
    return names_find_group(qualifier, &change->id) ? NULL : "there is no such group";
}

/* The tag and qualifier. The mask and the others have none, so that "m:r" and "m::r" are the same.
 */
static const char *parse_subject(struct fields *fields, struct acl_change *change)
{
    if (is_one_of(fields->tag, "u", "user"))
        return parse_named(fields->qualifier, true, change);
    if (is_one_of(fields->tag, "g", "group"))
        return parse_named(fields->qualifier, false, change);
    if (is_one_of(fields->tag, "m", "mask"))
        change->tag = ACL_MASK;
    else if (is_one_of(fields->tag, "o", "other"))
        change->tag = ACL_OTHER;
    else
        return "it begins with none of u: g: m: o:";
    if (!fields->perm) {
        fields->perm = fields->qualifier;
        fields->qualifier = "";
    }
    return fields->qualifier[0] ? "the mask and the others have no name" : NULL;
}

static const char *parse_entry(const char *entry, size_t len, bool remove,
                               struct acl_change *change)
{
    struct fields fields;
    const char *problem = split(entry, len, &fields);

    if (!problem)
        problem = parse_subject(&fields, change);
    if (problem)
        return problem;
    change->remove = remove;
    if (!remove) {
        if (!fields.perm)
            return "its permissions are missing";
        return parse_perm(fields.perm, &change->perm) ? NULL : "permissions are rwx- or 0 to 7";
    }
    if (fields.perm && fields.perm[0])
        return "an entry to remove has no permissions";
    if (change->tag != ACL_USER && change->tag != ACL_GROUP)
        return "only entries of named users and groups can be removed";
    return NULL;
}

static bool parse(struct aclspec *spec, const char *text, bool remove, struct acl_problem *problem)
{
    const char *entry = text;

    while (true) {
        struct acl_change change = {ACL_OWNER, false, 0, 0};
        size_t len = strcspn(entry, ",");
        problem->reason = parse_entry(entry, len, remove, &change);
        if (!problem->reason && spec->count == ACLSPEC_MAX)
            problem->reason = "these are too many entries";
        if (problem->reason) {
            snprintf(problem->entry, sizeof(problem->entry), "%.*s", (int)len, entry);
            return false;
        }
        spec->changes[spec->count++] = change;
        spec->mask_given |= change.tag == ACL_MASK;
        if (!entry[len])
            return true;
        entry += len + 1;
    }
}

bool aclspec_modify(struct aclspec *spec, const char *text, struct acl_problem *ret_problem)
{
    return parse(spec, text, false, ret_problem);
}

bool aclspec_remove(struct aclspec *spec, const char *text, struct acl_problem *ret_problem)
{
    return parse(spec, text, true, ret_problem);
}

void aclspec_clear(struct aclspec *spec)
{
    *spec = (struct aclspec){.clear = true};
}

bool aclspec_empty(const struct aclspec *spec)
{
    return !spec->clear && spec->count == 0;
}

static void set_mode_bits(struct policy *policy, unsigned shift, unsigned perm)
{
    unsigned mode = policy->mode & ~(7U << shift);

    policy->mode = (uint16_t)(mode | perm << shift);
}

static enum store_err apply_named(const struct acl_change *change, enum policy_tag tag,
                                  struct policy *policy)
{
    enum store_err err;

    if (!change->remove)
        return policy_set_entry(policy, tag, change->id, change->perm);
    err = policy_remove_entry(policy, tag, change->id);
    return err == STORE_ERR_NOT_FOUND ? STORE_OK : err;
}

static enum store_err apply_change(const struct acl_change *change, struct policy *policy)
{
    switch (change->tag) {
    case ACL_OWNER:
        set_mode_bits(policy, 6, change->perm);
        return STORE_OK;
    case ACL_USER:
        return apply_named(change, POLICY_USER, policy);
    case ACL_OWNING_GROUP:
        policy_set_group(policy, change->perm);
        return STORE_OK;
    case ACL_GROUP:
        return apply_named(change, POLICY_GROUP, policy);
    case ACL_MASK:
        policy_set_mask(policy, change->perm);
        return STORE_OK;
    case ACL_OTHER:
        set_mode_bits(policy, 0, change->perm);
        return STORE_OK;
    }
    return STORE_ERR_INVALID;
}

enum store_err aclspec_apply(const struct aclspec *spec, struct policy *policy)
{
    if (spec->clear)
        policy_clear_acl(policy);
    for (size_t i = 0; i < spec->count; i++) {
        enum store_err err = apply_change(&spec->changes[i], policy);
        if (err != STORE_OK)
            return err;
    }
    if (spec->count > 0 && policy->extended && !spec->mask_given)
        policy_fit_mask(policy);
    return STORE_OK;
}

size_t aclspec_lines(const struct policy *policy, struct acl_line ret_lines[static ACL_LINES_MAX])
{
    unsigned owner = policy->mode >> 6 & 7;
    unsigned mask = policy->extended ? policy->mode >> 3 & 7U : 7U;
    unsigned group = policy_group(policy);
    unsigned other = policy->mode & 7;
    size_t n = 0;
    size_t i = 0;

    ret_lines[n++] = (struct acl_line){"user", false, ACL_OWNER, 0, owner, owner};
    for (; i < policy->entry_count && policy->entries[i].tag == POLICY_USER; i++) {
        const struct policy_entry *e = &policy->entries[i];
        ret_lines[n++] = (struct acl_line){"user", true, ACL_USER, e->id, e->perm, e->perm & mask};
    }
    ret_lines[n++] = (struct acl_line){"group", false, ACL_OWNING_GROUP, 0, group, group & mask};
    for (; i < policy->entry_count; i++) {
        const struct policy_entry *e = &policy->entries[i];
        ret_lines[n++] =
            (struct acl_line){"group", true, ACL_GROUP, e->id, e->perm, e->perm & mask};
    }
    if (policy->extended)
        ret_lines[n++] = (struct acl_line){"mask", false, ACL_MASK, 0, mask, mask};
    ret_lines[n++] = (struct acl_line){"other", false, ACL_OTHER, 0, other, other};
    return n;
}
