/*
 * What the parts of serving share: session.c begins and ends it, serve.c answers requests, notify.c
 * sends notifications. Private.
 */
#ifndef FS_SESSION_H
#define FS_SESSION_H

#include "callers.h"
#include "serve.h"
#include "tree.h"
#include "values.h"

#include <stdatomic.h>
#include <time.h>

struct fuse_lowlevel_ops;
struct fuse_session;
struct loop;

/* The handlers of requests. */
extern const struct fuse_lowlevel_ops serve_operations;

struct serve {
    struct serve_options options;
    struct tree tree;
    struct values values;
    struct reopen reopen;
    struct kept *kept;
    struct fuse_session *session;
    int device_fd; /* the session's own */
    struct loop *loop;
    bool notifier_silent;    /* it did not answer the last time; the follower's */
    _Atomic time_t reported; /* the second in which a failed read was last logged */
};

/* What all handlers begin with: the session of a request, and a line of it if -o debug asks for it.
 */
struct fuse_req;
struct fuse_file_info;
struct serve *serve_of(struct fuse_req *req);
void serve_trace(struct fuse_req *req, const char *operation, uint64_t ino);

/* Handlers (serve_read.c), as in struct fuse_lowlevel_ops. */
void serve_open(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void serve_read(struct fuse_req *req, uint64_t ino, size_t size, off_t off,
                struct fuse_file_info *fi);
void serve_release(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);

/* Whether nobody may read a secret, as there are no opens by which its rules could be obeyed. */
bool serve_refuses_reading(const struct serve *serve, uint64_t id);

/* Put on record that the kernel has refused the caller, if that is why it asks for the attributes
 * of `ino`. */
void serve_record_refusal(struct fuse_req *req, uint64_t ino, bool is_directory);

/* Whether the watchers of an inode are being told of a rotation. */
bool serve_is_being_told(const struct serve *serve, uint64_t ino);

/* Note that a version or directory is shown by its name, and all that have lower ids. */
void serve_note_shown(struct serve *serve, uint64_t id);

#endif
