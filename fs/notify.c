/*
 * From changes of the store to what the kernel has cached, and to whoever watches.
 *
 * The index has changed already, but for names, which are held. Each of them is swapped by the
 * notifier's rename: the kernel takes the directory's lock for it, so that lookups and listings
 * under way have ended before, and moves its own entry. Attributes and ACLs are dropped by
 * notifications, which take no such lock. Whoever watches a superseded version is told by a touch
 * of its inode: a single file that was mounted elsewhere has no name that could be swapped.
 */
#define FUSE_USE_VERSION 312
#include "changes.h"
#include "notifier.h"
#include "session.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

bool serve_resend(struct serve *serve)
{
    return send_bare(serve, NOTIFY_RESEND);
}

/* ENOENT from the kernel means that it has nothing cached, which is as good. */

static void drop_entry(struct serve *serve, uint64_t directory, const char *name)
{
    fuse_lowlevel_notify_inval_entry(serve->session, tree_kernel_ino(&serve->tree, directory), name,
                                     strlen(name));
}

/* Attributes and ACL, and pages where `off` is not negative. False if the kernel has no such inode.
 */
static bool drop(struct serve *serve, uint64_t ino, off_t off)
{
    ino = tree_kernel_ino(&serve->tree, ino);
    attributes_dropped(&serve->kept->attributes, ino);
    bool known = fuse_lowlevel_notify_inval_inode(serve->session, ino, off, 0) == 0;
    attributes_dropped(&serve->kept->attributes, ino);
    return known;
}

/* Attributes and ACL, not the pages: a version's never change, but for cut_off(). False if the
 * kernel has no such inode, which it keeps as long as a name, a handle, a mount or a watch refers
 * to it. */
static bool drop_attributes(struct serve *serve, uint64_t ino)
{
    return ino && drop(serve, ino, -1);
}

/* The same for what the views have of it too. */
static void drop_all_attributes(struct serve *serve, uint64_t id)
{
    for (int label = STORE_LABEL_CURRENT; id && label <= STORE_LABEL_PENDING; label++)
        drop_attributes(serve, tree_view((enum store_label)label, id));
}

static void drop_policy(struct serve *serve, const struct store_change *change)
{
    uint64_t ids[STORE_VERSIONS_KEPT];
    size_t count;

    drop_all_attributes(serve, change->node);
    if (store_version_ids(serve->tree.store, change->node, ids, STORE_VERSIONS_KEPT, &count) !=
        STORE_OK)
        return;
    for (size_t i = 0; i < count; i++)
        drop_all_attributes(serve, ids[i]);
}

/* The pages of a version, through whichever view they were read. */
static void drop_pages(struct serve *serve, uint64_t version)
{
    for (int label = STORE_LABEL_CURRENT; label <= STORE_LABEL_PENDING; label++)
        drop(serve, tree_view((enum store_label)label, version), 0);
}

/*
 * Drop the pages of versions that are not given out any more, so that those who hold or map them
 * have to ask again. The kernel waits for the pages that a READ under way is filling, which another
 * thread answers; so nothing that was let through before the index changed stays behind.
 */
static void cut_off(struct serve *serve, const struct store_change *change)
{
    struct store *store = serve->tree.store;
    uint64_t ids[STORE_VERSIONS_KEPT];
    struct store_attr attr;
    size_t count;

    if (store_version_ids(store, change->node, ids, STORE_VERSIONS_KEPT, &count) != STORE_OK)
        return;
    for (size_t i = 0; i < count; i++)
        if ((store_stat(store, ids[i], &attr) == STORE_OK && store_refusal(&attr) != STORE_OK) ||
            serve_refuses_reading(serve, change->node) ||
            reopen_state(&serve->reopen, ids[i]).version) /* which may be the one */
            drop_pages(serve, ids[i]);
}

void serve_cut_off(struct serve *serve, const struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        cut_off(serve, &changes->items[i]);
}

/* ---- Orders -------------------------------------------------------------- */

/* A batch of changes on its way to the kernel. */
struct telling {
    struct serve *serve;
    int stop_fd;
    bool stopped;
    bool no_notifier;   /* there is none, or it does not answer */
    bool look_up_again; /* a name changed without the notifier */
    struct notifier_order order;
};

/* Have the order carried out; what the notifier could not do is left to the kernel's next lookup.
 * Returns 0 or an errno. */
static int ask(struct telling *t)
{
    struct serve *serve = t->serve;
    int error = ENOSYS;

    if (!t->no_notifier) {
        error = notifier_ask(serve->options.notifier, t->stop_fd, &t->order,
                             serve->notifier_silent ? NOTIFIER_TRY_MS : NOTIFIER_ASK_MS);
        serve->notifier_silent = error == ETIMEDOUT;
    }
    t->stopped = error == ECANCELED;
    t->no_notifier |= error == ETIMEDOUT;
    t->look_up_again |= error != 0 && t->order.act != NOTIFIER_TOUCH &&
                        !(error == ENOENT && t->order.act == NOTIFIER_UNLINK);
    return error;
}

/* ---- Directories that go ------------------------------------------------- */

/* The path at which a node was. errors: INVALID and NOT_FOUND, see store_path_below() */
static enum store_err old_path(const struct serve *serve, uint64_t top,
                               const struct store_change *change, char ret_path[STORE_PATH_MAX])
{
    enum store_err err = store_path_below(serve->tree.store, top, change->old_parent, ret_path);
    size_t len = err ? 0 : strlen(ret_path);

    if (!err && len + 1 + STORE_NAME_MAX >= STORE_PATH_MAX)
        err = STORE_ERR_LIMIT;
    if (!err)
        snprintf(ret_path + len, STORE_PATH_MAX - len, "%s%s", len ? "/" : "", change->name);
    return err;
}

/* Whether the name is there, of another node by now. */
static bool is_taken(const struct serve *serve, const struct store_change *change)
{
    struct store_attr attr;
    return store_lookup(serve->tree.store, change->old_parent, change->name, &attr) == STORE_OK;
}

/* Whether it is, or is going to be once that is shown. */
static bool will_be_taken(const struct serve *serve, const struct store_change *change)
{
    char path[STORE_PATH_MAX];
    struct store_attr attr;

    return old_path(serve, STORE_ROOT_ID, change, path) == STORE_OK &&
           store_resolve(serve->tree.store, path, &attr) == STORE_OK;
}

/*
 * Move a directory on the private mount, by an order that has `path` where it goes to. Not by
 * unlinking it: that marks a directory as dead, and it lives on under another name, or may be
 * restored. While it is asked for, a lookup of the old name still finds the directory.
 * Returns whether it was moved.
 */
static bool ask_to_move(struct telling *t, const struct store_change *change, uint32_t act)
{
    struct serve *serve = t->serve;

    t->order.act = act;
    t->order.id = change->node;
    enum store_err err = old_path(serve, serve->tree.top, change, t->order.from);
    if (err) {
        t->look_up_again |= err != STORE_ERR_INVALID;
        return false;
    }
    tree_leave(&serve->tree, change->old_parent, change->name, change->node);
    int error = ask(t);
    tree_left(&serve->tree);
    return error == 0;
}

/* Take a directory out of sight, and have the kernel forget it where nobody holds it: that is what
 * its watchers hear of. */
static void take(struct telling *t, const struct store_change *change)
{
    char staged[24];

    if (!ask_to_move(t, change, NOTIFIER_TAKE) || !(change->kinds & STORE_CHANGED_REMOVED))
        return;
    snprintf(staged, sizeof staged, "%" PRIu64, change->node);
    drop_entry(t->serve, TREE_STAGE, staged);
}

static bool is_gone_directory(const struct serve *serve, const struct store_change *change)
{
    char path[STORE_PATH_MAX];

    if (change->kind != STORE_DIRECTORY)
        return false;
    if (change->kinds & STORE_CHANGED_REMOVED)
        return true;
    return change->kinds & STORE_CHANGED_MOVED &&
           store_path_below(serve->tree.store, serve->tree.top, change->node, path) ==
               STORE_ERR_INVALID;
}

/* Take directories out of the tree whose names others are to get: the kernel would put one over the
 * other, and mark that as dead. Those inside come before those around them. */
static void make_room(struct telling *t, const struct store_changes *changes)
{
    for (size_t i = changes->count; i-- > 0 && !t->stopped;) {
        const struct store_change *change = &changes->items[i];
        if (change->kind == STORE_DIRECTORY &&
            change->kinds & (STORE_CHANGED_REMOVED | STORE_CHANGED_MOVED) &&
            !is_taken(t->serve, change) && will_be_taken(t->serve, change))
            take(t, change);
    }
}

static void take_away(struct telling *t, const struct store_changes *changes)
{
    for (size_t i = changes->count; i-- > 0 && !t->stopped;)
        if (is_gone_directory(t->serve, &changes->items[i]) &&
            !is_taken(t->serve, &changes->items[i]))
            take(t, &changes->items[i]);
}

/* ---- Names that are swapped ---------------------------------------------- */

/*
 * As long as the kernel may still have the attributes of a version from when it was current, it is
 * opened as that (serve.c). A worker that dies in between leaves it to the next one.
 */
static void end_swap(struct serve *serve)
{
    drop_attributes(serve, serve->kept->swapped);
    serve->kept->swapped = 0;
}

/* What the name shows the index tells, not the change. in: id  what it is to show */
static void begin_swap(struct serve *serve, uint64_t node, uint64_t id)
{
    struct store_attr attr;

    if (store_stat(serve->tree.store, node, &attr) != STORE_OK || attr.current == id)
        return; /* shown meanwhile, by a request that a former worker has left */
    if (serve->kept->swapped != attr.current)
        end_swap(serve);
    serve->kept->swapped = attr.current;
}

/* Swap a name that is held. Whatever comes of it, the name is shown afterwards. */
static void show(struct telling *t, const struct store_change *change, uint64_t id)
{
    struct serve *serve = t->serve;
    struct store *store = serve->tree.store;

    begin_swap(serve, change->node, id);
    t->order.act = NOTIFIER_SHOW;
    t->order.id = id;
    enum store_err err = store_path_below(store, serve->tree.top, change->node, t->order.path);
    if (err == STORE_OK && change->kind == STORE_DIRECTORY && change->kinds & STORE_CHANGED_MOVED &&
        !will_be_taken(serve, change)) {
        ask_to_move(t, change, NOTIFIER_MOVE);
        t->order.act = NOTIFIER_SHOW;
    }
    if (err == STORE_OK && !t->stopped && store_is_held(store, change->node))
        ask(t);
    else if (err)
        t->look_up_again |= err != STORE_ERR_INVALID; /* what is elsewhere is in no cache */
    if (!t->stopped && store_show(store, id, 0, NULL) == STORE_OK)
        serve_note_shown(serve, id);
    if (!t->stopped)
        end_swap(serve);
}

/* ---- Superseded inodes --------------------------------------------------- */

static void begin_telling(struct kept *kept, uint64_t version)
{
    kept->telling.version = 0; /* until it is complete */
    kept->telling.again = version < kept->shown;
    kept->telling.below = UINT64_MAX;
    kept->telling.ino = 0;
    kept->telling.told = false;
    kept->telling.version = version;
}

/* Have the watchers of one inode told, or hear that they have been. */
static void tell(struct telling *t, uint64_t ino)
{
    struct kept_telling *telling = &t->serve->kept->telling;

    if (telling->ino != ino) {
        if (!drop_attributes(t->serve, ino))
            return;
        telling->told = false;
        telling->ino = ino;
    }
    t->order.act = NOTIFIER_TOUCH;
    t->order.id = ino;
    t->order.path[0] = '\0';
    ask(t);
    if (t->stopped)
        return;
    telling->below = ino;
    telling->ino = 0;
}

/* Tell the watchers of all versions that are superseded, or were until now. */
static void tell_all(struct telling *t, const struct store_change *change)
{
    struct kept_telling *telling = &t->serve->kept->telling;
    uint64_t ids[STORE_VERSIONS_KEPT];
    size_t count;

    if (store_version_ids(t->serve->tree.store, change->node, ids, STORE_VERSIONS_KEPT, &count) !=
        STORE_OK)
        count = 0;
    for (size_t i = 0; i < count && !t->stopped && !t->no_notifier; i++)
        if (ids[i] < telling->below && (ids[i] != telling->version || telling->again))
            tell(t, ids[i]);
    if (!t->stopped)
        telling->version = 0;
}

/* A rotation that a former worker has shown, and died or was replaced before all were told of it,
 * is gone on with. */
static void show_and_tell(struct telling *t, const struct store_change *change)
{
    struct serve *serve = t->serve;
    uint64_t id = change->kind == STORE_SECRET ? change->new_version : change->node;
    bool is_rotation = change->kind == STORE_SECRET && change->kinds & STORE_CHANGED_VERSION;

    if (store_is_held(serve->tree.store, change->node)) {
        if (is_rotation)
            begin_telling(serve->kept, id);
        show(t, change, id);
    }
    if (!t->stopped && is_rotation && id != 0 && serve->kept->telling.version == id)
        tell_all(t, change);
}

/* ---- Names that are gone ------------------------------------------------- */

/* Have a secret's name forgotten that is gone. */
static void forget(struct telling *t, const struct store_change *change)
{
    struct serve *serve = t->serve;

    if (change->kind == STORE_DIRECTORY ||
        !(change->kinds & (STORE_CHANGED_REMOVED | STORE_CHANGED_MOVED)) || is_taken(serve, change))
        return;
    enum store_err err = old_path(serve, serve->tree.top, change, t->order.path);
    if (err == STORE_ERR_INVALID)
        return;
    if (err) {
        t->look_up_again = true;
        return;
    }
    t->order.act = NOTIFIER_UNLINK;
    t->order.id = change->node;
    tree_leave(&serve->tree, change->old_parent, change->name,
               change->new_version ? change->new_version : change->old_version);
    ask(t);
    tree_left(&serve->tree);
}

/* Kernels before 6.16 can't be told to look every name up again: there, one after the other is
 * dropped. */
static void look_up_again(struct serve *serve, const struct store_changes *changes)
{
    if (send_bare(serve, NOTIFY_INC_EPOCH))
        return;
    for (size_t i = 0; i < changes->count; i++)
        if (changes->items[i].old_parent)
            drop_entry(serve, changes->items[i].old_parent, changes->items[i].name);
}

/* ---- All of it ----------------------------------------------------------- */

static void drop_caches(struct serve *serve, const struct store_change *change)
{
    if (change->kinds & ~(unsigned)STORE_CHANGED_CREATED)
        drop_policy(serve, change);
    if (change->kinds & ~(unsigned)STORE_CHANGED_POLICY) {
        drop_all_attributes(serve, change->old_parent);
        if (change->new_parent != change->old_parent)
            drop_all_attributes(serve, change->new_parent);
    }
}

/* In the order of their making: a directory before what is in it. */
static int compare_changes(const void *a, const void *b)
{
    const struct store_change *x = a;
    const struct store_change *y = b;
    uint64_t left = x->kind == STORE_SECRET ? x->new_version : x->node;
    uint64_t right = y->kind == STORE_SECRET ? y->new_version : y->node;
    return left < right ? -1 : left > right;
}

bool serve_changes(struct serve *serve, struct store_changes *changes, bool missed, int stop_fd)
{
    struct telling t = {
        .serve = serve, .stop_fd = stop_fd, .no_notifier = !serve->kept->has_notifier};

    serve_cut_off(serve, changes); /* first: the notifier may take its time */
    if (missed)
        look_up_again(serve, changes);
    if (changes->count > 0)
        qsort(changes->items, changes->count, sizeof *changes->items, compare_changes);
    make_room(&t, changes);
    for (size_t i = 0; i < changes->count && !t.stopped; i++)
        show_and_tell(&t, &changes->items[i]);
    for (size_t i = 0; i < changes->count && !t.stopped; i++)
        forget(&t, &changes->items[i]);
    take_away(&t, changes);
    if (t.stopped)
        return false;
    if (t.look_up_again)
        look_up_again(serve, changes);
    for (size_t i = 0; i < changes->count; i++)
        drop_caches(serve, &changes->items[i]);
    end_swap(serve);
    return true;
}
