/*
 * The tree as stat(2) sees it: from inode numbers to attributes and ACLs. Knows no FUSE.
 *
 * An inode is a version: a secret's number is its current version's id, a directory's its own id in
 * the store, the same after a restart. The superblock's root has the number 1 and three
 * entries: `tree`, which is the store's root directory or the one that `subdir` names; `stage`, in
 * which every version and directory is found by its number, to be renamed to the name that is to
 * show it; and `inode`, in which every version is found by its number, to be touched.
 */
#ifndef FS_TREE_H
#define FS_TREE_H

#include "store.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/*
 * Views of a label: below the top, `@previous` and `@pending` resolve, and are not listed. They
 * have the same directories, and of the secrets those with that label, as the version with it.
 * Inodes of a view have the number of the directory or version with the label in the bits from
 * TREE_VIEW_SHIFT on (the store counts up from 16, and does not get there), so that they are the
 * same after a restart too, and a version that is opened through a view is never taken for one that
 * was superseded while it was current. A name that the store has itself, which it can only in
 * another top than its root, goes before the view of that name.
 */
#define TREE_VIEW_SHIFT STORE_ID_BITS

/* The number in the view of `label` of what has the number `ino`; that number itself for `current`.
 */
static inline uint64_t tree_view(enum store_label label, uint64_t ino)
{
    return (uint64_t)label << TREE_VIEW_SHIFT | ino;
}

static inline bool tree_is_view(uint64_t ino)
{
    return ino >> TREE_VIEW_SHIFT != 0;
}

/* What an inode is in the store, through whichever view. */
static inline uint64_t tree_id(uint64_t ino)
{
    return ino & ((UINT64_C(1) << TREE_VIEW_SHIFT) - 1);
}

enum { TREE_SUPERBLOCK_ROOT = 1, TREE_STAGE, TREE_INODE };

/* A name that is gone from the store and not yet from the kernel. */
struct tree_leaving {
    pthread_mutex_t lock;
    uint64_t ino; /* 0: there is none */
    uint64_t directory;
    char name[STORE_NAME_MAX + 1];
};

struct tree {
    struct store *store;
    uint64_t top;     /* what `tree` is: the id of a directory in the store */
    bool top_is_root; /* the superblock's root is the top itself, instead of having it as `tree` */
    struct tree_leaving leaving;
};

#define TREE_INIT(store_)                                                  \
    {                                                                      \
        .store = (store_), .leaving = {.lock = PTHREAD_MUTEX_INITIALIZER } \
    }

/* All functions return 0 or a positive errno, and may be called by several threads at once. */

/* What the errors of the store are to somebody who called open(2), read(2) and the like. */
int tree_errno(enum store_err err);

/* Make `subdir` (NULL: the store's root) the top. ENOENT, ENOTDIR. */
int tree_set_top(struct tree *tree, const char *subdir);

/* The number by which the kernel knows an inode: its own, but for a top that is the root. */
uint64_t tree_kernel_ino(const struct tree *tree, uint64_t ino);

/* What has a number of a view is to be looked up each time: labels move without a notice. */
int tree_lookup(struct tree *tree, uint64_t directory, const char *name, struct stat *ret_st);
/* ESTALE for an inode that is gone for good. */
int tree_stat(struct tree *tree, uint64_t ino, struct stat *ret_st);

/*
 * Let `name` in `directory` show what is staged under the name `number`. ENOENT if that is not what
 * it is to show.
 * out: ret_shown  the version or directory
 */
int tree_show(struct tree *tree, const char *number, uint64_t directory, const char *name,
              uint64_t *ret_shown);

/*
 * Let `name`, which is gone from the store, be found once more, as the version or directory `ino`,
 * until it is unlinked or moved: of a name that is not found nobody could be told that it goes.
 * tree_left() ends it.
 */
void tree_leave(struct tree *tree, uint64_t directory, const char *name, uint64_t ino);
void tree_left(struct tree *tree);

/* Whether `name` is gone from `directory`, so that the kernel may forget it: 0, or EROFS. */
int tree_unlink(struct tree *tree, uint64_t directory, const char *name);

/*
 * Whether the directory that is leaving `directory` as `name` may be moved to `new_directory`: as
 * `new_name`, which then shows it, or out of sight in TREE_STAGE. 0, EROFS if it is not leaving, or
 * ENOENT if it is not what `new_name` is to show.
 * out: ret_shown  it; 0 where it is out of sight
 */
int tree_move(struct tree *tree, uint64_t directory, const char *name, uint64_t new_directory,
              const char *new_name, uint64_t *ret_shown);

/* What there is to know of a version before it is opened. */
struct tree_version {
    uint64_t node;          /* its secret */
    uint64_t superseded_by; /* the version that the name shows; 0: this one, or it is in a view */
    int refusal;            /* EKEYREVOKED, EKEYEXPIRED; 0: it may be opened */
};

/* Look at the version `ino`. ENOENT once its secret is removed, ESTALE, EISDIR. */
int tree_version(struct tree *tree, uint64_t ino, struct tree_version *ret_version);

/* Whether the version `ino` may be opened now: the same errors, and those of `refusal`. */
int tree_open(struct tree *tree, uint64_t ino);

/*
 * The entries of a directory, beginning after `cookie` (0: from the start), until `visit` returns
 * false.
 * "." and ".." come first. Each entry's cookie continues behind it. `visit` must not call into the
 * tree.
 */
typedef bool tree_visit_fn(void *arg, const char *name, const struct stat *st, uint64_t cookie);
int tree_list(struct tree *tree, uint64_t directory, uint64_t cookie, tree_visit_fn *visit,
              void *arg);

/* The value of system.posix_acl_access: its length, at most TREE_ACL_MAX, or 0 where there is no
 * ACL. */
#define TREE_ACL_MAX (4 + 8 * (POLICY_ACL_MAX + 4))
int tree_acl(struct tree *tree, uint64_t ino, unsigned char ret_acl[TREE_ACL_MAX], size_t *ret_len);

/* What the policy of a version or directory lets a process with these ids do, as
 * policy_permits() has it. */
int tree_permits(struct tree *tree, uint64_t ino, uint32_t uid, uint32_t gid,
                 const uint32_t *groups, size_t count, unsigned *ret_permissions);

void tree_statfs(struct tree *tree, struct statvfs *ret_st);

#endif
