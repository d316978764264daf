/*
 * Users and groups through the system's name service.
 *
 * A listing asks for the same few ids again and again, and the service may be a network away, so
 * answers are kept. Must not know the store. One thread only.
 */
#include "names.h"

#include "text.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define CACHE_SLOTS 64

struct cached_name {
    bool used;
    uint32_t id;
    char text[64];
};

bool names_find_user(const char *text, uint32_t *ret_uid)
{
    const struct passwd *entry = getpwnam(text);

    if (!entry)
        return text_number(text, UINT32_MAX - 1, ret_uid);
    *ret_uid = entry->pw_uid;
    return true;
}

bool names_find_group(const char *text, uint32_t *ret_gid)
{
    const struct group *entry = getgrnam(text);

    if (!entry)
        return text_number(text, UINT32_MAX - 1, ret_gid);
    *ret_gid = entry->gr_gid;
    return true;
}

bool names_login_group(uint32_t uid, uint32_t *ret_gid)
{
    const struct passwd *entry = getpwuid(uid);

    if (!entry)
        return false;
    *ret_gid = entry->pw_gid;
    return true;
}

static const char *keep(struct cached_name *slot, uint32_t id, const char *name)
{
    slot->used = true;
    slot->id = id;
    if (name && name[0] && strlen(name) < sizeof(slot->text) && text_printable(name))
        snprintf(slot->text, sizeof(slot->text), "%s", name);
    else
        snprintf(slot->text, sizeof(slot->text), "%u", id);
    return slot->text;
}

const char *names_user(uint32_t uid)
{
    static struct cached_name cache[CACHE_SLOTS];
    struct cached_name *slot = &cache[uid % CACHE_SLOTS];
    const struct passwd *entry;

    if (slot->used && slot->id == uid)
        return slot->text;
    entry = getpwuid(uid);
    return keep(slot, uid, entry ? entry->pw_name : NULL);
}

const char *names_group(uint32_t gid)
{
    static struct cached_name cache[CACHE_SLOTS];
    struct cached_name *slot = &cache[gid % CACHE_SLOTS];
    const struct group *entry;

    if (slot->used && slot->id == gid)
        return slot->text;
    entry = getgrgid(gid);
    return keep(slot, gid, entry ? entry->gr_name : NULL);
}
