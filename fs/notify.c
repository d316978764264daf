/*
 * From changes of the store to the kernel's caches.
 *
 * The order counts. Invalidating an entry takes the directory's lock, so lookups and listings under
 * way, which hold it, have ended before: what they have cached of the old state is what is dropped.
 * The index has changed already, so whatever comes after finds the new state.
 */
#define FUSE_USE_VERSION 312
#include "session.h"

#include <fuse_lowlevel.h>
#include <string.h>
#include <unistd.h>

/* Notifications of newer kernels than libfuse knows: a bare header (include/uapi/linux/fuse.h). */
enum notify_code { NOTIFY_RESEND = 7, NOTIFY_INC_EPOCH = 8 };

static bool send_bare(struct serve *serve, enum notify_code code)
{
    struct {
        uint32_t len;
        int32_t error;
        uint64_t unique;
    } header = {.len = sizeof header, .error = (int32_t)code};
    return write(serve->device_fd, &header, sizeof header) == (ssize_t)sizeof header;
}

bool notify_resend(struct serve *serve)
{
    return send_bare(serve, NOTIFY_RESEND);
}

/* ENOENT from the kernel means that it has nothing cached, which is as good. */

static void drop_entry(struct serve *serve, uint64_t directory, const char *name)
{
    fuse_lowlevel_notify_inval_entry(serve->session, directory, name, strlen(name));
}

/* Attributes and ACL, not the pages: a version's never change. */
static void drop_attributes(struct serve *serve, uint64_t ino)
{
    if (ino)
        fuse_lowlevel_notify_inval_inode(serve->session, ino, -1, 0);
}

static void drop_policy(struct serve *serve, const struct store_change *change)
{
    uint64_t ids[STORE_VERSIONS_KEPT];
    size_t count;

    drop_attributes(serve, change->node);
    if (store_version_ids(serve->tree.store, change->node, ids, STORE_VERSIONS_KEPT, &count) !=
        STORE_OK)
        return;
    for (size_t i = 0; i < count; i++)
        drop_attributes(serve, ids[i]);
}

static void notify(struct serve *serve, const struct store_change *change)
{
    unsigned kinds = change->kinds;

    if (kinds & (STORE_CHANGED_REMOVED | STORE_CHANGED_MOVED | STORE_CHANGED_VERSION))
        drop_entry(serve, change->old_parent, change->name);
    if (kinds & (STORE_CHANGED_POLICY | STORE_CHANGED_REMOVED | STORE_CHANGED_MOVED |
                 STORE_CHANGED_VERSION))
        drop_policy(serve, change);
    if (kinds & ~(unsigned)STORE_CHANGED_POLICY) {
        drop_attributes(serve, change->old_parent);
        if (change->new_parent != change->old_parent)
            drop_attributes(serve, change->new_parent);
    }
}

void serve_notify(struct serve *serve, const struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        notify(serve, &changes->items[i]);
}

void serve_resync(struct serve *serve, const struct store_changes *changes)
{
    /* Kernels before 6.16 refuse it: there, the old name of what was moved meanwhile stays for a
     * day. */
    send_bare(serve, NOTIFY_INC_EPOCH);
    serve_notify(serve, changes);
}
