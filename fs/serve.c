/*
 * FUSE requests: one handler for each, a thin step to the tree.
 *
 * What makes a warm read one request: entries and attributes are valid for a day, pages are kept
 * across opens, and a close is not told (FOPEN_NOFLUSH). All of it stays right because an inode
 * never changes, and because every other change is told to the kernel (notify.c).
 */
#define FUSE_USE_VERSION 312
#include "serve.h"
#include "log.h"
#include "loop.h"
#include "session.h"
#include "tree.h"
#include "values.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VALID_SECONDS ((double)ATTRIBUTES_VALID_S)
#define ACL_NAME "system.posix_acl_access"

struct serve *serve_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

void serve_trace(fuse_req_t req, const char *operation, fuse_ino_t ino)
{
    if (serve_of(req)->options.debug)
        log_debug("debug: %s nodeid=%llu uid=%u", operation, (unsigned long long)ino,
                  fuse_req_ctx(req)->uid);
}

/* ---- Names and attributes ------------------------------------------------ */

static struct fuse_entry_param to_entry(const struct stat *st)
{
    return (struct fuse_entry_param){.ino = st->st_ino,
                                     .generation = 1,
                                     .attr = *st,
                                     .attr_timeout = VALID_SECONDS,
                                     .entry_timeout = tree_is_view(st->st_ino) ? 0 : VALID_SECONDS};
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->want |= conn->capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_READDIRPLUS);
    conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
                              FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    conn->time_gran = 1;
}

/*
 * A superseded inode has the size and times of the version that an open gives, unless somebody
 * holds another: a handle's fstat(2) and its reads are to agree. Its link count is not 0, or the
 * kernel would take it for deleted and end its watches when it lets a name in inode/ go (tree.c).
 * Returns for how long that is valid.
 */
static double describe(struct serve *serve, struct stat *st)
{
    struct stat other;
    struct tree_version version;
    if (!S_ISREG(st->st_mode) || tree_version(&serve->tree, st->st_ino, &version) ||
        (version.superseded_by == 0 && serve->kept->swapped != st->st_ino))
        return VALID_SECONDS;
    st->st_nlink = 1;
    struct reopen_state held = reopen_state(&serve->reopen, st->st_ino);
    if (!held.own && serve->kept->swapped != st->st_ino &&
        tree_stat(&serve->tree, held.version ? held.version : version.superseded_by, &other) == 0) {
        st->st_size = other.st_size;
        st->st_blocks = other.st_blocks;
        st->st_atim = other.st_atim;
        st->st_mtim = other.st_mtim;
        st->st_ctim = other.st_ctim;
    }
    return 0;
}

/* Whether the watchers of an inode are being told of a rotation. */
bool serve_is_being_told(const struct serve *serve, uint64_t ino)
{
    return serve->kept->telling.ino == ino;
}

/* The kernel is about to get them, to be asked for again after `valid` seconds. */
static void note_attributes(struct serve *serve, uint64_t ino, double valid)
{
    if (valid > 0)
        attributes_given(&serve->kept->attributes, ino);
    else
        attributes_dropped(&serve->kept->attributes, ino);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct serve *serve = serve_of(req);
    struct stat st;
    serve_trace(req, "LOOKUP", parent);
    int error = tree_lookup(&serve->tree, parent, name, &st);
    if (!error && parent == TREE_INODE &&
        (!serve_is_being_told(serve, st.st_ino) || serve->kept->telling.told))
        error = ENOENT; /* an order that is late, or carried out once more */
    if (error) {
        fuse_reply_err(req, error);
        return;
    }
    if (parent == TREE_INODE)
        describe(serve, &st);
    struct fuse_entry_param entry = to_entry(&st);
    if (parent == TREE_INODE) /* the kernel is to keep none of it, not even the inode */
        entry.attr_timeout = entry.entry_timeout = 0;
    note_attributes(serve, st.st_ino, entry.attr_timeout);
    fuse_reply_entry(req, &entry);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct serve *serve = serve_of(req);
    struct stat st;
    serve_trace(req, "GETATTR", ino);
    int error = tree_stat(&serve->tree, ino, &st);
    if (error) {
        fuse_reply_err(req, error);
        return;
    }
    double valid = describe(serve, &st);
    if (fi == NULL)
        serve_record_refusal(req, ino, S_ISDIR(st.st_mode));
    note_attributes(serve, ino, valid);
    fuse_reply_attr(req, &st, valid);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    (void)ino;
    (void)count;
    attributes_evicted(&serve_of(req)->kept->attributes);
    fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    (void)count;
    (void)forgets;
    attributes_evicted(&serve_of(req)->kept->attributes);
    fuse_reply_none(req);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs st;
    serve_trace(req, "STATFS", ino);
    tree_statfs(&serve_of(req)->tree, &st);
    fuse_reply_statfs(req, &st);
}

/* ---- Extended attributes ------------------------------------------------- */

/* Answer with `len` bytes, or with their number when that is what was asked. */
static void reply_xattr(fuse_req_t req, const void *bytes, size_t len, size_t room)
{
    if (room == 0)
        fuse_reply_xattr(req, len);
    else if (len > room)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, bytes, len);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    unsigned char acl[TREE_ACL_MAX];
    size_t len = 0;
    serve_trace(req, "GETXATTR", ino);
    int error = 0;
    if (strcmp(name, ACL_NAME) == 0)
        error = tree_acl(&serve_of(req)->tree, ino, acl, &len);
    if (!error && len == 0)
        error = ENODATA;
    if (error)
        fuse_reply_err(req, error);
    else
        reply_xattr(req, acl, len, size);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    unsigned char acl[TREE_ACL_MAX];
    size_t len = 0;
    serve_trace(req, "LISTXATTR", ino);
    int error = tree_acl(&serve_of(req)->tree, ino, acl, &len);
    if (error)
        fuse_reply_err(req, error);
    else
        reply_xattr(req, ACL_NAME, len ? sizeof ACL_NAME : 0, size);
}

/* ---- Directories --------------------------------------------------------- */

static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    /* Not ENOSYS, after which the kernel would cache listings: a listing that is being read while
     * an entry changes could stay in that cache. */
    serve_trace(req, "OPENDIR", ino);
    fi->fh = 0;
    fuse_reply_open(req, fi);
}

struct listing {
    fuse_req_t req;
    char *buf;
    size_t size;
    size_t used;
    bool plus;
};

static bool add_entry(void *arg, const char *name, const struct stat *st, uint64_t cookie)
{
    struct listing *l = arg;
    char *at = l->buf + l->used;
    size_t room = l->size - l->used;
    size_t len;

    if (l->plus) {
        struct fuse_entry_param entry = to_entry(st);
        if (name[0] == '.' && (name[1] == '\0' || strcmp(name, "..") == 0))
            entry.ino = 0; /* not a lookup */
        len = fuse_add_direntry_plus(l->req, at, room, name, &entry, (off_t)cookie);
        if (len <= room && entry.ino)
            note_attributes(serve_of(l->req), entry.ino, entry.attr_timeout);
    } else {
        len = fuse_add_direntry(l->req, at, room, name, st, (off_t)cookie);
    }
    if (len > room)
        return false;
    l->used += len;
    return true;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    struct serve *serve = serve_of(req);
    struct listing l = {.req = req, .buf = malloc(size), .size = size, .plus = plus};
    int error = ENOMEM;
    if (l.buf)
        error = tree_list(&serve->tree, ino, (uint64_t)off, add_entry, &l);
    attributes_dropped(&serve->kept->attributes, ino); /* the time of the last access */
    if (error)
        fuse_reply_err(req, error);
    else
        fuse_reply_buf(req, l.buf, l.used);
    attributes_dropped(&serve->kept->attributes, ino);
    free(l.buf);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)fi;
    serve_trace(req, "READDIR", ino);
    list(req, ino, size, off, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    (void)fi;
    serve_trace(req, "READDIRPLUS", ino);
    list(req, ino, size, off, true);
}

static void on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    serve_trace(req, "RELEASEDIR", ino);
    fuse_reply_err(req, 0);
}

/* ---- What the notifier does on the private mount ------------------------- */

void serve_note_shown(struct serve *serve, uint64_t id)
{
    if (serve->kept->shown <= id)
        serve->kept->shown = id + 1;
}

/*
 * The kernel holds the locks of both directories, so nobody looks the name up meanwhile. What is
 * shown is noted before the answer: a worker that dies in between must not take it back.
 */
static void on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned flags)
{
    struct serve *serve = serve_of(req);
    uint64_t shown = 0;
    int error = EROFS;
    serve_trace(req, "RENAME", newparent);
    if (parent == TREE_STAGE && flags == 0)
        error = tree_show(&serve->tree, name, newparent, newname, &shown);
    else if (flags == 0)
        error = tree_move(&serve->tree, parent, name, newparent, newname, &shown);
    if (!error && shown)
        serve_note_shown(serve, shown);
    attributes_dropped(&serve->kept->attributes, parent);
    attributes_dropped(&serve->kept->attributes, newparent);
    attributes_dropped(&serve->kept->attributes, tree_kernel_ino(&serve->tree, shown));
    fuse_reply_err(req, error);
}

static void on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    serve_trace(req, "UNLINK", parent);
    attributes_dropped(&serve_of(req)->kept->attributes, parent);
    fuse_reply_err(req, tree_unlink(&serve_of(req)->tree, parent, name));
}

/* What seems to be a write, and changes nothing. Noted before the answer, which the kernel takes
 * from the next worker if this one dies. */
static void on_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                         struct fuse_file_info *fi)
{
    struct serve *serve = serve_of(req);
    (void)mode;
    (void)off;
    (void)len;
    (void)fi;
    serve_trace(req, "FALLOCATE", ino);
    attributes_dropped(&serve->kept->attributes, ino);
    bool told = serve_is_being_told(serve, ino);
    if (told)
        serve->kept->telling.told = true;
    fuse_reply_err(req, told ? 0 : EROFS);
}

const struct fuse_lowlevel_ops serve_operations = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .statfs = on_statfs,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .readdirplus = on_readdirplus,
    .releasedir = on_releasedir,
    .open = serve_open,
    .read = serve_read,
    .release = serve_release,
    .rename = on_rename,
    .unlink = on_unlink,
    .fallocate = on_fallocate,
};
