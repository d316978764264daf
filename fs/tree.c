/*
 * Attributes, listings and ACLs of the tree. See tree.h.
 */
#include "tree.h"
#include "changes.h"
#include "mount.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096
#define STAT_BLOCK_BYTES 512 /* of st_blocks, whatever the filesystem */
#define SECOND_NS 1000000000

/* Cookies of entries that have no id; ids begin above. */
enum { COOKIE_DOT = 1, COOKIE_DOT_DOT, COOKIE_TREE, COOKIE_STAGE, COOKIE_INODE };

int tree_errno(enum store_err err)
{
    switch (err) {
    case STORE_OK:
        return 0;
    case STORE_ERR_NOT_FOUND:
    case STORE_ERR_NAME:
        return ENOENT;
    case STORE_ERR_NO_VERSION:
        return ESTALE;
    case STORE_ERR_EXISTS:
        return EEXIST;
    case STORE_ERR_NOT_DIRECTORY:
        return ENOTDIR;
    case STORE_ERR_IS_DIRECTORY:
        return EISDIR;
    case STORE_ERR_NOT_EMPTY:
        return ENOTEMPTY;
    case STORE_ERR_LIMIT:
        return EFBIG;
    case STORE_ERR_INVALID:
        return EINVAL;
    case STORE_ERR_NO_MEMORY:
    case STORE_ERR_MEMORY_LOCK:
        return ENOMEM;
    case STORE_ERR_REVOKED:
        return EKEYREVOKED;
    case STORE_ERR_EXPIRED:
        return EKEYEXPIRED;
    case STORE_ERR_NO_STORE:
    case STORE_ERR_FORMAT:
    case STORE_ERR_KEY:
    case STORE_ERR_INTEGRITY:
    case STORE_ERR_ANCHOR:
    case STORE_ERR_BUSY:
    case STORE_ERR_DENIED:
    case STORE_ERR_NO_SPACE:
    case STORE_ERR_IO:
        return EIO;
    }
    return EIO;
}

int tree_set_top(struct tree *tree, const char *subdir)
{
    struct store_attr attr;
    enum store_err err = store_resolve(tree->store, subdir ? subdir : "", &attr);
    if (err)
        return tree_errno(err);
    if (attr.kind != STORE_DIRECTORY)
        return ENOTDIR;
    tree->top = attr.node;
    return 0;
}

static struct timespec to_timespec(int64_t ns)
{
    int64_t nanoseconds = ns % SECOND_NS;
    if (nanoseconds < 0)
        nanoseconds += SECOND_NS;
    return (struct timespec){.tv_sec = (time_t)((ns - nanoseconds) / SECOND_NS),
                             .tv_nsec = (long)nanoseconds};
}

static struct stat to_stat(const struct store_attr *attr, enum store_label label)
{
    struct stat st = {.st_uid = attr->uid,
                      .st_gid = attr->gid,
                      .st_blksize = BLOCK_BYTES,
                      .st_mtim = to_timespec(attr->mtime_ns),
                      .st_ctim = to_timespec(attr->ctime_ns)};

    st.st_atim = st.st_mtim;
    if (attr->kind == STORE_DIRECTORY) {
        st.st_ino = tree_view(label, attr->node);
        st.st_mode = S_IFDIR | attr->mode;
        st.st_nlink = attr->deleted ? 0 : 2 + attr->subdirs;
        return st;
    }
    st.st_ino = tree_view(label, attr->version);
    st.st_mode = S_IFREG | attr->mode;
    st.st_nlink =
        !attr->deleted && (label != STORE_LABEL_CURRENT || attr->version == attr->current);
    st.st_size = attr->size_bytes;
    st.st_blocks = (attr->size_bytes + STAT_BLOCK_BYTES - 1) / STAT_BLOCK_BYTES;
    return st;
}

static bool is_own_directory(uint64_t ino)
{
    return ino >= TREE_SUPERBLOCK_ROOT && ino <= TREE_INODE;
}

static struct stat own_directory(uint64_t ino)
{
    return (struct stat){.st_ino = ino,
                         .st_mode = S_IFDIR | (ino == TREE_SUPERBLOCK_ROOT ? 0755 : 0700),
                         .st_nlink = ino == TREE_SUPERBLOCK_ROOT ? 5 : 2,
                         .st_blksize = BLOCK_BYTES};
}

static int lookup_superblock_root(struct tree *tree, const char *name, struct stat *ret_st)
{
    if (strcmp(name, MOUNT_TREE) == 0)
        return tree_stat(tree, tree->top, ret_st);
    if (strcmp(name, MOUNT_STAGE) == 0)
        return tree_stat(tree, TREE_STAGE, ret_st);
    return strcmp(name, MOUNT_INODE) == 0 ? tree_stat(tree, TREE_INODE, ret_st) : ENOENT;
}

/* The number that a name in stage/ or inode/ is; 0 if it is none. */
static uint64_t number_in(const char *name)
{
    char *end;
    uint64_t number = name[0] >= '1' && name[0] <= '9' ? strtoull(name, &end, 10) : 0;
    return number >= STORE_ROOT_ID && !tree_is_view(number) && *end == '\0' ? number : 0;
}

static int lookup_staged(struct tree *tree, const char *name, struct stat *ret_st)
{
    uint64_t number = number_in(name);
    int error = number ? tree_stat(tree, number, ret_st) : ENOENT;
    if (!error && S_ISREG(ret_st->st_mode))
        ret_st->st_nlink = 1; /* as it will have under its name */
    return error;
}

/* Whose watchers are told must not have a link count of 0 when the name here is let go, or the
 * kernel would take it for deleted, and end their watch. */
static int lookup_inode(struct tree *tree, const char *name, struct stat *ret_st)
{
    uint64_t number = number_in(name);
    int error = number ? tree_stat(tree, number, ret_st) : ENOENT;
    if (error || !S_ISREG(ret_st->st_mode) || ret_st->st_ino != number)
        return ENOENT;
    ret_st->st_nlink = 1;
    return 0;
}

/* ---- Numbers ------------------------------------------------------------- */

/* The label of the view that an inode is in; `current` for the tree itself. */
static enum store_label label_of(uint64_t ino)
{
    return (enum store_label)(ino >> TREE_VIEW_SHIFT);
}

/* What the kernel calls the root, if that is the top. */
static uint64_t from_kernel(const struct tree *tree, uint64_t ino)
{
    return ino == TREE_SUPERBLOCK_ROOT && tree->top_is_root ? tree->top : ino;
}

uint64_t tree_kernel_ino(const struct tree *tree, uint64_t ino)
{
    return ino == tree->top && tree->top_is_root ? TREE_SUPERBLOCK_ROOT : ino;
}

/* ---- A name that goes ---------------------------------------------------- */

void tree_leave(struct tree *tree, uint64_t directory, const char *name, uint64_t ino)
{
    struct tree_leaving *leaving = &tree->leaving;

    pthread_mutex_lock(&leaving->lock);
    leaving->ino = ino;
    leaving->directory = directory;
    snprintf(leaving->name, sizeof leaving->name, "%s", name);
    pthread_mutex_unlock(&leaving->lock);
}

void tree_left(struct tree *tree)
{
    pthread_mutex_lock(&tree->leaving.lock);
    tree->leaving.ino = 0;
    pthread_mutex_unlock(&tree->leaving.lock);
}

/* The version that `name` is still found as; 0 if it isn't. */
static uint64_t is_leaving(struct tree *tree, uint64_t directory, const char *name)
{
    struct tree_leaving *leaving = &tree->leaving;

    pthread_mutex_lock(&leaving->lock);
    bool same = leaving->directory == directory && strcmp(leaving->name, name) == 0;
    uint64_t ino = same ? leaving->ino : 0;
    pthread_mutex_unlock(&leaving->lock);
    return ino;
}

/* ---- Names --------------------------------------------------------------- */

/* The view that `name` in `directory` is, unless the store has that name itself; 0 for none. */
static uint64_t view_named(const struct tree *tree, uint64_t directory, const char *name)
{
    if (directory != tree->top)
        return 0;
    if (strcmp(name, "@previous") == 0)
        return tree_view(STORE_LABEL_PREVIOUS, directory);
    return strcmp(name, "@pending") == 0 ? tree_view(STORE_LABEL_PENDING, directory) : 0;
}

int tree_lookup(struct tree *tree, uint64_t directory, const char *name, struct stat *ret_st)
{
    struct store_attr attr;
    uint64_t ino;

    directory = from_kernel(tree, directory);
    if (directory == TREE_SUPERBLOCK_ROOT)
        return lookup_superblock_root(tree, name, ret_st);
    if (directory == TREE_STAGE)
        return lookup_staged(tree, name, ret_st);
    if (directory == TREE_INODE)
        return lookup_inode(tree, name, ret_st);
    if (strlen(name) > STORE_NAME_MAX)
        return ENAMETOOLONG;
    enum store_label label = label_of(directory);
    enum store_err err = store_lookup_label(tree->store, tree_id(directory), name, label, &attr);
    if (!err)
        *ret_st = to_stat(&attr, label);
    else if (err == STORE_ERR_NOT_FOUND && (ino = is_leaving(tree, directory, name)) != 0)
        return tree_stat(tree, ino, ret_st) ? ENOENT : 0;
    else if (tree_errno(err) == ENOENT && (ino = view_named(tree, directory, name)) != 0)
        return tree_stat(tree, ino, ret_st);
    return tree_errno(err);
}

/* An inode that the kernel still knows and the store doesn't is stale; told so, the kernel looks
 * the path up once more. */
static int stat_inode(struct tree *tree, uint64_t ino, struct store_attr *ret_attr)
{
    enum store_err err = store_stat(tree->store, tree_id(ino), ret_attr);
    return err == STORE_ERR_NOT_FOUND ? ESTALE : tree_errno(err);
}

int tree_stat(struct tree *tree, uint64_t ino, struct stat *ret_st)
{
    struct store_attr attr;

    ino = from_kernel(tree, ino);
    if (is_own_directory(ino)) {
        *ret_st = own_directory(ino);
        return 0;
    }
    int error = stat_inode(tree, ino, &attr);
    if (!error)
        *ret_st = to_stat(&attr, label_of(ino));
    return error;
}

int tree_show(struct tree *tree, const char *number, uint64_t directory, const char *name,
              uint64_t *ret_shown)
{
    *ret_shown = number_in(number);
    return tree_errno(store_show(tree->store, *ret_shown, directory, name));
}

int tree_unlink(struct tree *tree, uint64_t directory, const char *name)
{
    struct store_attr attr;
    if (tree_is_view(directory) || view_named(tree, directory, name) ||
        store_lookup(tree->store, directory, name, &attr) != STORE_ERR_NOT_FOUND)
        return EROFS;
    if (is_leaving(tree, directory, name))
        tree_left(tree);
    return 0;
}

int tree_move(struct tree *tree, uint64_t directory, const char *name, uint64_t new_directory,
              const char *new_name, uint64_t *ret_shown)
{
    uint64_t ino = is_leaving(tree, from_kernel(tree, directory), name);
    int error = ino ? 0 : EROFS;

    *ret_shown = 0;
    if (!error && new_directory != TREE_STAGE) {
        error =
            tree_errno(store_show(tree->store, ino, from_kernel(tree, new_directory), new_name));
        *ret_shown = error ? 0 : ino;
    }
    if (!error)
        tree_left(tree); /* or a second try would find it there again */
    return error;
}

static int stat_version(struct tree *tree, uint64_t ino, struct store_attr *ret_attr)
{
    int error = stat_inode(tree, from_kernel(tree, ino), ret_attr);
    if (error)
        return error;
    if (ret_attr->kind == STORE_DIRECTORY)
        return EISDIR;
    return ret_attr->deleted ? ENOENT : 0;
}

int tree_version(struct tree *tree, uint64_t ino, struct tree_version *ret_version)
{
    struct store_attr attr;
    int error = stat_version(tree, ino, &attr);
    if (error)
        return error;
    bool shown = tree_is_view(ino) || attr.current == attr.version;
    *ret_version = (struct tree_version){.node = attr.node,
                                         .superseded_by = shown ? 0 : attr.current,
                                         .refusal = tree_errno(store_refusal(&attr))};
    return 0;
}

int tree_open(struct tree *tree, uint64_t ino)
{
    struct tree_version version;
    int error = tree_version(tree, ino, &version);
    return error ? error : version.refusal;
}

/* ---- Directories --------------------------------------------------------- */

struct list {
    tree_visit_fn *visit;
    void *arg;
    enum store_label label;
};

static bool visit_entry(void *arg, const char *name, const struct store_attr *attr)
{
    const struct list *list = arg;
    struct stat st = to_stat(attr, list->label);
    return list->visit(list->arg, name, &st, attr->node);
}

/* What ".." is: the top's parent lies outside the mount, so it is the superblock's root; that of a
 * view is the top. */
static uint64_t parent_of(const struct tree *tree, const struct store_attr *directory,
                          enum store_label label)
{
    if (label != STORE_LABEL_CURRENT)
        return directory->node == tree->top ? tree->top : tree_view(label, directory->parent);
    return directory->node == tree->top ? from_kernel(tree, TREE_SUPERBLOCK_ROOT)
                                        : directory->parent;
}

static bool visit_dots(uint64_t ino, uint64_t parent, uint64_t cookie, const struct list *list)
{
    struct stat dot = {.st_ino = ino, .st_mode = S_IFDIR};
    struct stat dot_dot = {.st_ino = parent, .st_mode = S_IFDIR};
    return (cookie >= COOKIE_DOT || list->visit(list->arg, ".", &dot, COOKIE_DOT)) &&
           (cookie >= COOKIE_DOT_DOT || list->visit(list->arg, "..", &dot_dot, COOKIE_DOT_DOT));
}

static int list_superblock_root(struct tree *tree, uint64_t cookie, const struct list *list)
{
    struct stat st;
    int error = tree_stat(tree, tree->top, &st);
    if (error || !visit_dots(TREE_SUPERBLOCK_ROOT, TREE_SUPERBLOCK_ROOT, cookie, list))
        return error;
    if (cookie < COOKIE_TREE && !list->visit(list->arg, MOUNT_TREE, &st, COOKIE_TREE))
        return 0;
    st = own_directory(TREE_STAGE);
    if (cookie < COOKIE_STAGE && !list->visit(list->arg, MOUNT_STAGE, &st, COOKIE_STAGE))
        return 0;
    st = own_directory(TREE_INODE);
    if (cookie < COOKIE_INODE)
        list->visit(list->arg, MOUNT_INODE, &st, COOKIE_INODE);
    return 0;
}

int tree_list(struct tree *tree, uint64_t directory, uint64_t cookie, tree_visit_fn *visit,
              void *arg)
{
    struct list list = {visit, arg, STORE_LABEL_CURRENT};
    struct store_attr attr;

    directory = from_kernel(tree, directory);
    list.label = label_of(directory);
    if (directory == TREE_SUPERBLOCK_ROOT)
        return list_superblock_root(tree, cookie, &list);
    if (is_own_directory(directory)) {
        visit_dots(directory, TREE_SUPERBLOCK_ROOT, cookie, &list); /* the rest is not listed */
        return 0;
    }
    int error = stat_inode(tree, directory, &attr);
    if (error || !visit_dots(directory, parent_of(tree, &attr, list.label), cookie, &list))
        return error;
    return tree_errno(store_list_label(tree->store, attr.node, list.label,
                                       cookie < STORE_ROOT_ID ? 0 : cookie, visit_entry, &list));
}

/* ---- ACLs ---------------------------------------------------------------- */

static unsigned char *put_entry(unsigned char *at, unsigned tag, unsigned perm, uint32_t id)
{
    struct posix_acl_xattr_entry entry = {
        .e_tag = htole16((uint16_t)tag), .e_perm = htole16((uint16_t)perm), .e_id = htole32(id)};
    memcpy(at, &entry, sizeof entry);
    return at + sizeof entry;
}

static unsigned char *put_named(unsigned char *at, const struct policy *p, enum policy_tag tag,
                                unsigned acl_tag)
{
    for (unsigned i = 0; i < p->entry_count; i++)
        if (p->entries[i].tag == tag)
            at = put_entry(at, acl_tag, p->entries[i].perm, p->entries[i].id);
    return at;
}

int tree_acl(struct tree *tree, uint64_t ino, unsigned char ret_acl[TREE_ACL_MAX], size_t *ret_len)
{
    struct posix_acl_xattr_header header = {.a_version = htole32(POSIX_ACL_XATTR_VERSION)};
    struct policy p;
    unsigned char *at = ret_acl;

    *ret_len = 0;
    ino = from_kernel(tree, ino);
    if (is_own_directory(ino))
        return 0;
    enum store_err err = store_policy(tree->store, tree_id(ino), &p);
    if (err == STORE_ERR_NOT_FOUND)
        return ESTALE;
    if (err || !p.extended)
        return tree_errno(err);
    memcpy(at, &header, sizeof header);
    at += sizeof header;
    at = put_entry(at, ACL_USER_OBJ, p.mode >> 6 & 7u, ACL_UNDEFINED_ID);
    at = put_named(at, &p, POLICY_USER, ACL_USER);
    at = put_entry(at, ACL_GROUP_OBJ, p.group_perm, ACL_UNDEFINED_ID);
    at = put_named(at, &p, POLICY_GROUP, ACL_GROUP);
    at = put_entry(at, ACL_MASK, p.mode >> 3 & 7u, ACL_UNDEFINED_ID);
    at = put_entry(at, ACL_OTHER, p.mode & 7u, ACL_UNDEFINED_ID);
    *ret_len = (size_t)(at - ret_acl);
    return 0;
}

int tree_permits(struct tree *tree, uint64_t ino, uint32_t uid, uint32_t gid,
                 const uint32_t *groups, size_t count, unsigned *ret_permissions)
{
    struct policy p;

    ino = from_kernel(tree, ino);
    if (is_own_directory(ino))
        return ENOENT;
    enum store_err err = store_policy(tree->store, tree_id(ino), &p);
    if (err)
        return tree_errno(err);
    *ret_permissions = policy_permits(&p, uid, gid, groups, count);
    return 0;
}

/* ---- The filesystem ------------------------------------------------------ */

void tree_statfs(struct tree *tree, struct statvfs *ret_st)
{
    struct store_stats stats;
    store_stats(tree->store, &stats);
    *ret_st = (struct statvfs){.f_bsize = BLOCK_BYTES,
                               .f_frsize = BLOCK_BYTES,
                               .f_blocks = (stats.value_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES,
                               .f_files = stats.secrets + stats.directories,
                               .f_namemax = STORE_NAME_MAX};
}
