/*
 * The rules of acl(5) on a struct policy. Knows nothing of names, files or the kernel's encoding.
 */
#include "policy.h"

#include <string.h>

#define GROUP_SHIFT 3

struct policy policy_make(uint32_t uid, uint32_t gid, uint16_t mode)
{
    return (struct policy){.uid = uid, .gid = gid, .mode = mode};
}

static int compare(uint8_t tag, uint32_t id, const struct policy_entry *e)
{
    if (tag != e->tag)
        return tag < e->tag ? -1 : 1;
    return id < e->id ? -1 : id > e->id;
}

bool policy_valid(const struct policy *p)
{
    if (p->mode > 0777 || p->group_perm > 7 || p->entry_count > POLICY_ACL_MAX)
        return false;
    if (p->uid == UINT32_MAX || p->gid == UINT32_MAX)
        return false;
    if (!p->extended)
        return p->entry_count == 0 && p->group_perm == 0;
    for (unsigned i = 0; i < p->entry_count; i++) {
        const struct policy_entry *e = &p->entries[i];
        if ((e->tag != POLICY_USER && e->tag != POLICY_GROUP) || e->perm > 7 || e->id == UINT32_MAX)
            return false;
        if (i > 0 && compare(e->tag, e->id, e - 1) <= 0)
            return false;
    }
    return true;
}

bool policy_equal(const struct policy *a, const struct policy *b)
{
    if (a->uid != b->uid || a->gid != b->gid || a->mode != b->mode || a->extended != b->extended ||
        a->group_perm != b->group_perm || a->entry_count != b->entry_count)
        return false;
    for (unsigned i = 0; i < a->entry_count; i++) {
        const struct policy_entry *e = &a->entries[i];
        if (compare(e->tag, e->id, &b->entries[i]) != 0 || e->perm != b->entries[i].perm)
            return false;
    }
    return true;
}

enum store_err policy_set_mode(struct policy *p, unsigned mode)
{
    if (mode > 0777)
        return STORE_ERR_INVALID;
    p->mode = (uint16_t)mode;
    return STORE_OK;
}

static void set_group_bits(struct policy *p, unsigned perm)
{
    p->mode = (uint16_t)((p->mode & 0707u) | (perm & 7u) << GROUP_SHIFT);
}

static void extend(struct policy *p)
{
    if (p->extended)
        return;
    p->extended = true;
    p->group_perm = (uint8_t)(p->mode >> GROUP_SHIFT & 7);
}

/* The place of (tag, id) in the sorted list, or where it would go. */
static unsigned position(const struct policy *p, uint8_t tag, uint32_t id, bool *ret_found)
{
    unsigned i = 0;
    while (i < p->entry_count && compare(tag, id, &p->entries[i]) > 0)
        i++;
    *ret_found = i < p->entry_count && compare(tag, id, &p->entries[i]) == 0;
    return i;
}

enum store_err policy_set_entry(struct policy *p, enum policy_tag tag, uint32_t id, unsigned perm)
{
    bool found;
    unsigned at = position(p, (uint8_t)tag, id, &found);

    if (perm > 7 || id == UINT32_MAX)
        return STORE_ERR_INVALID;
    if (!found) {
        if (p->entry_count == POLICY_ACL_MAX)
            return STORE_ERR_LIMIT;
        memmove(&p->entries[at + 1], &p->entries[at], (p->entry_count - at) * sizeof p->entries[0]);
        p->entry_count++;
    }
    p->entries[at] = (struct policy_entry){.tag = (uint8_t)tag, .perm = (uint8_t)perm, .id = id};
    extend(p);
    return STORE_OK;
}

enum store_err policy_remove_entry(struct policy *p, enum policy_tag tag, uint32_t id)
{
    bool found;
    unsigned at = position(p, (uint8_t)tag, id, &found);

    if (!found)
        return STORE_ERR_NOT_FOUND;
    p->entry_count--;
    memmove(&p->entries[at], &p->entries[at + 1], (p->entry_count - at) * sizeof p->entries[0]);
    p->entries[p->entry_count] = (struct policy_entry){0};
    return STORE_OK;
}

unsigned policy_group(const struct policy *p)
{
    return p->extended ? p->group_perm : (unsigned)p->mode >> GROUP_SHIFT & 7;
}

void policy_set_group(struct policy *p, unsigned perm)
{
    if (p->extended)
        p->group_perm = (uint8_t)(perm & 7);
    else
        set_group_bits(p, perm);
}

void policy_set_mask(struct policy *p, unsigned perm)
{
    extend(p);
    set_group_bits(p, perm);
}

void policy_fit_mask(struct policy *p)
{
    unsigned mask = p->group_perm;

    if (!p->extended)
        return;
    for (unsigned i = 0; i < p->entry_count; i++)
        mask |= p->entries[i].perm;
    set_group_bits(p, mask);
}

void policy_clear_acl(struct policy *p)
{
    if (p->extended)
        set_group_bits(p, p->group_perm & (p->mode >> GROUP_SHIFT & 7u));
    memset(p->entries, 0, sizeof p->entries);
    p->entry_count = 0;
    p->group_perm = 0;
    p->extended = false;
}

static bool is_member(uint32_t id, uint32_t gid, const uint32_t *groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (groups[i] == id)
            return true;
    return id == gid;
}

unsigned policy_permits(const struct policy *p, uint32_t uid, uint32_t gid, const uint32_t *groups,
                        size_t count)
{
    unsigned mask = p->extended ? p->mode >> GROUP_SHIFT & 7u : 7u;
    unsigned granted = 0;
    bool found = is_member(p->gid, gid, groups, count);

    if (uid == p->uid)
        return p->mode >> 2 * GROUP_SHIFT & 7u;
    if (found)
        granted = policy_group(p);
    for (unsigned i = 0; i < p->entry_count; i++) {
        const struct policy_entry *e = &p->entries[i];
        if (e->tag == POLICY_USER && e->id == uid)
            return e->perm & mask;
        if (e->tag == POLICY_GROUP && is_member(e->id, gid, groups, count)) {
            granted |= e->perm;
            found = true;
        }
    }
    return found ? granted & mask : p->mode & 7u;
}
