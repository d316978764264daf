/*
 * FUSE requests that give values out, or refuse to: opening, reading, and what goes on record of it
 * before the answer.
 */
#define FUSE_USE_VERSION 312
#include "clock.h"
#include "log.h"
#include "loop.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- The record ---------------------------------------------------------- */

/* Put on record what the caller is about to be told of a version or directory. Returns 0 or EIO. */
static int record(fuse_req_t req, enum audit_event event, uint64_t id, int error, bool inferred)
{
    const struct fuse_ctx *caller = fuse_req_ctx(req);
    const struct reads_note note = {.event = event,
                                    .request = loop_request(),
                                    .id = id,
                                    .thread = (uint32_t)caller->pid,
                                    .uid = caller->uid,
                                    .gid = caller->gid,
                                    .error = error,
                                    .inferred = inferred};
    return reads_record(serve_of(req)->options.reads, &note);
}

/* What a refusal by the daemon itself is called. */
static enum audit_event event_of(int error)
{
    if (error == EKEYREVOKED)
        return AUDIT_REVOKED;
    if (error == EKEYEXPIRED)
        return AUDIT_EXPIRED;
    return error == EIO ? AUDIT_INTEGRITY : AUDIT_DENIED;
}

/* Whether the policy lets these ids read a secret, or list and search a directory; what is gone by
 * now lets nobody. */
static bool permits(fuse_req_t req, uint64_t ino, bool is_directory,
                    const struct caller_facts *facts)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    unsigned needed = is_directory ? 5 : 4;
    unsigned granted = 0;

    return tree_permits(&serve_of(req)->tree, ino, ctx->uid, ctx->gid, facts->groups,
                        facts->group_count, &granted) == 0 &&
           (granted & needed) == needed;
}

/*
 * The kernel asks for attributes that it has when it has just refused somebody by them
 * (attributes.h). Where it may have dropped them, stat(2) by somebody who would be refused looks
 * the same, and the record says so. Whoever may read was refused something else, which the tree
 * does not have for anybody: that is not put on record. Supplementary groups take a question to the
 * supervisor, and count where nothing else tells.
 */
void serve_record_refusal(fuse_req_t req, uint64_t ino, bool is_directory)
{
    struct serve *serve = serve_of(req);
    bool held = attributes_held(&serve->kept->attributes, ino);
    struct caller_facts facts = {.group_count = 0};
    bool known = true;

    if (!held && fuse_req_ctx(req)->uid == 0)
        return;
    if (!held || permits(req, ino, is_directory, &facts))
        known = callers_ask(serve->options.callers, (uint32_t)fuse_req_ctx(req)->pid, &facts) &&
                facts.groups_known;
    if (known ? permits(req, ino, is_directory, &facts) : !held)
        return;
    record(req, AUDIT_DENIED, tree_id(ino), EACCES, !held || !known);
    counts_denied(&serve->kept->counts);
}

/* ---- Opening and reading ------------------------------------------------- */

/* Whether the secret's rules let the caller open it. Who can't be found out is let in by none. */
static bool is_allowed(fuse_req_t req, uint64_t secret)
{
    const struct serve *serve = serve_of(req);
    struct caller_facts facts = {.in_place = false};

    if (!store_is_ruled(serve->tree.store, secret))
        return true;
    if (!callers_ask(serve->options.callers, (uint32_t)fuse_req_ctx(req)->pid, &facts))
        facts = (struct caller_facts){.in_place = false};
    const struct store_caller caller = {.unit = facts.unit,
                                        .executable = facts.in_place ? facts.executable : ""};
    return store_allows(serve->tree.store, secret, &caller);
}

/* What an open for reading gives; see reopen.h. */
static int choose(fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
    struct serve *serve = serve_of(req);
    struct tree_version version;
    int error = tree_version(&serve->tree, ino, &version);
    if (error)
        return error;
    fi->fh = tree_id(ino);
    if (!is_allowed(req, version.node))
        return EACCES;
    bool superseded = version.superseded_by != 0 && serve->kept->swapped != ino;
    enum reopen_way way =
        reopen_way(&serve->reopen, loop_request(), (uint32_t)fuse_req_ctx(req)->pid, version.node,
                   ino, superseded);
    if (way == REOPEN_AGAIN)
        return ESTALE;
    fi->direct_io = serve->options.direct_io || way != REOPEN_OWN;
    if (way != REOPEN_CURRENT)
        return version.refusal;
    fi->fh = version.superseded_by;
    return tree_open(&serve->tree, fi->fh);
}

/* Returns 0 or an errno; what is answered with 0 is on record. */
static int begin_to_read(fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
    struct serve *serve = serve_of(req);
    int error = choose(req, ino, fi);
    int unrecorded = 0;
    if (error != ESTALE && error != ENOENT) /* nobody is refused by that: it is gone */
        unrecorded = record(req, error ? event_of(error) : AUDIT_OPEN, fi->fh, error, false);
    if (error || unrecorded)
        return error ? error : unrecorded;
    fi->keep_cache = !serve->options.direct_io;
    fi->noflush = 1;
    opens_note(&serve->kept->opens, HANDOFF_SOCKET, (uint32_t)fuse_req_ctx(req)->pid,
               fuse_req_ctx(req)->uid, fi->fh);
    /* Where the answer comes too late, the request was sent again, and another thread gives it. */
    reopen_add(&serve->reopen, loop_request(), ino, fi->fh);
    return 0;
}

static void open_to_read(fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
    int64_t began_ns = clock_ns(CLOCK_MONOTONIC);
    struct counts *counts = &serve_of(req)->kept->counts;
    int error = begin_to_read(req, ino, fi);
    if (error != ESTALE)
        counts_open(counts, error, began_ns);
    if (error)
        fuse_reply_err(req, error);
    else
        fuse_reply_open(req, fi);
}

/* The notifier's, on the private mount. */
static void open_to_touch(fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
    struct serve *serve = serve_of(req);
    int error = serve_is_being_told(serve, ino) ? tree_open(&serve->tree, ino) : EROFS;
    fi->keep_cache = 1;
    fi->noflush = 1;
    if (error)
        fuse_reply_err(req, error);
    else
        fuse_reply_open(req, fi);
}

static bool is_to_read(const struct fuse_file_info *fi)
{
    return (fi->flags & O_ACCMODE) == O_RDONLY;
}

void serve_open(fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
    serve_trace(req, "OPEN", ino);
    if (serve_of(req)->options.no_open)
        fuse_reply_err(req, ENOSYS);
    else if (is_to_read(fi))
        open_to_read(req, ino, fi);
    else
        open_to_touch(req, ino, fi);
}

/* A read that fails is worth a line, though no more than one a second: whoever may read could fill
 * the log. A version that is gone or not given out is not worth any, its reader was late. */
static void report(struct serve *serve, uint64_t ino, enum store_err err)
{
    time_t now = time(NULL);
    char number[24];

    bool late = err == STORE_ERR_NO_VERSION || err == STORE_ERR_REVOKED || err == STORE_ERR_EXPIRED;
    if (late || atomic_exchange(&serve->reported, now) == now)
        return;
    snprintf(number, sizeof number, "%llu", (unsigned long long)ino);
    log_store_error("read the inode", number, err);
}

/*
 * Whether the read would fill pages of the inode, through a mapping, with a version that not all
 * who hold it read: mapped pages are the inode's, whatever was opened. Reads past the page cache
 * are told by their lock owner.
 */
static bool would_mix(struct serve *serve, uint64_t ino, const struct fuse_file_info *fi)
{
    return fi->fh != ino && fi->lock_owner == 0 && reopen_state(&serve->reopen, ino).several;
}

/* What a read is refused for; else it is late, or may go on when tried again. */
static bool is_refusal(enum store_err err)
{
    return err == STORE_ERR_REVOKED || err == STORE_ERR_EXPIRED || err == STORE_ERR_INTEGRITY;
}

bool serve_refuses_reading(const struct serve *serve, uint64_t id)
{
    return serve->options.no_open && store_is_ruled(serve->tree.store, id);
}

void serve_read(fuse_req_t req, uint64_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct serve *serve = serve_of(req);
    size_t at = (size_t)off;
    uint64_t version = serve->options.no_open ? tree_id(ino) : fi->fh;
    serve_trace(req, "READ", ino);
    if (!serve->options.no_open && would_mix(serve, ino, fi)) {
        fuse_reply_err(req, EIO);
        return;
    }
    if (serve_refuses_reading(serve, version)) {
        fuse_reply_err(req, EACCES);
        return;
    }
    struct secbuf value = values_take(&serve->values);
    enum store_err err = store_read(serve->tree.store, version, &value);
    attributes_dropped(&serve->kept->attributes, ino); /* the time of the last access */
    if (err) {
        report(serve, ino, err);
        if (is_refusal(err))
            record(req, event_of(tree_errno(err)), version, tree_errno(err), false);
        fuse_reply_err(req, tree_errno(err));
    } else {
        size_t left = at < value.len ? value.len - at : 0;
        fuse_reply_buf(req, left ? (const char *)value.data + at : NULL, left < size ? left : size);
    }
    attributes_dropped(&serve->kept->attributes, ino);
    values_give(&serve->values, &value);
}

void serve_release(fuse_req_t req, uint64_t ino, struct fuse_file_info *fi)
{
    serve_trace(req, "RELEASE", ino);
    if (is_to_read(fi))
        reopen_remove(&serve_of(req)->reopen, loop_request(), ino, fi->fh);
    fuse_reply_err(req, 0);
}
