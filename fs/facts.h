/*
 * What there is to know of a caller, found out in /proc: the supervisor's, which may look at any
 * process. Nothing that a process may choose is opened or followed, but by the kernel's own links.
 */
#ifndef FS_FACTS_H
#define FS_FACTS_H

#include "callers.h"

/* What the supervisor must not wait for: its own mount. */
struct facts_mount {
    const char *path;        /* the mount point; absolute, without symlinks */
    _Atomic uint64_t device; /* as in st_dev; 0: not known yet */
};

/*
 * Look at the thread `thread` and its process. Where it has ended meanwhile, or has begun another
 * program, nothing is known of it: false. The executable is unknown where we may not look at it.
 * out: ret_fd  of the thread's name; the caller's to close
 */
bool facts_find(uint32_t thread, const struct facts_mount *mount, struct callers_answer *ret_answer,
                int *ret_fd);

#endif
