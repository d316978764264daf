/*
 * Opening superseded inodes, which have no name any more: a single file that is mounted elsewhere
 * still leads to one, and so does /proc/PID/fd. Such an open gives the current version, past the
 * kernel's page cache (direct_io): that has the pages of the inode's own version.
 *
 * An open by path may come to a superseded inode as well, where a rotation has overtaken it between
 * the lookup and the open, and it must not get two versions mixed. FUSE does not tell one from the
 * other, but the kernel looks a path up once more after ESTALE. So the first such open of a thread
 * is turned back; whoever comes again to the same inode has no path.
 *
 * What size an inode has depends on who holds it open, so handles are counted. All of this is in
 * memory that outlives a worker, which may be killed at any instruction: then an open may count
 * twice, never too little, and the inode keeps the size of its own version.
 */
#ifndef FS_REOPEN_H
#define FS_REOPEN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REOPEN_BUCKETS 1024
#define REOPEN_IN_BUCKET 16
#define REOPEN_RETRIES 256
#define REOPEN_RECENT 1024

/* The handles of an inode; unused where there are none. */
struct reopen_inode {
    _Atomic uint64_t ino;
    _Atomic uint64_t version; /* that was opened last of those that are not the inode's own */
    _Atomic uint32_t own;     /* handles that read the inode's own version */
    _Atomic uint32_t others;  /* and those that read another */
    _Atomic bool several;     /* these read more than one */
};

/* A thread that was turned back, and the request with which it came again; 0: not yet. */
struct reopen_retry {
    _Atomic uint32_t thread;
    _Atomic uint64_t ino;
    _Atomic uint64_t node;
    _Atomic uint64_t first;
    _Atomic uint64_t second;
};

struct reopen_kept {
    struct reopen_inode inodes[REOPEN_BUCKETS][REOPEN_IN_BUCKET];
    _Atomic uint32_t uncounted[REOPEN_BUCKETS]; /* handles for whose inodes there was no room */
    struct reopen_retry retries[REOPEN_RETRIES];
    struct reopen_counted {
        _Atomic uint64_t request;
        _Atomic uint64_t version; /* that an open was counted for; 0: it was a release */
        _Atomic uint32_t worker;  /* that has counted it */
    } recent[REOPEN_RECENT];      /* that were counted last */
    _Atomic uint32_t next;        /* where the next one goes */
};

struct reopen {
    struct reopen_kept *kept;
    uint32_t worker;      /* the process */
    pthread_mutex_t lock; /* the threads of one worker; the kept memory has none that could stay */
};

#define REOPEN_INIT(kept_, worker_)                                             \
    {                                                                           \
        .kept = (kept_), .worker = (worker_), .lock = PTHREAD_MUTEX_INITIALIZER \
    }

enum reopen_way {
    REOPEN_OWN,            /* the inode's own version */
    REOPEN_OWN_PAST_CACHE, /* the same by direct_io: the inode may have another size now */
    REOPEN_CURRENT,        /* the current one by direct_io */
    REOPEN_AGAIN,          /* ESTALE */
};

/*
 * What an open of `ino`, a version of the secret `node`, gives.
 * in: request  its number, with FUSE_UNIQUE_RESEND where it was sent again
 * in: thread   its id as FUSE tells it; 0 where it has none here: it is not turned back
 * thread: safe, as all of this
 */
enum reopen_way reopen_way(struct reopen *reopen, uint64_t request, uint32_t thread, uint64_t node,
                           uint64_t ino, bool superseded);

/* Count a handle of `ino` that reads `version`, or its end; once for each request, even if it is
 * sent again: to another worker, as what that one answers. */
void reopen_add(struct reopen *reopen, uint64_t request, uint64_t ino, uint64_t version);
void reopen_remove(struct reopen *reopen, uint64_t request, uint64_t ino, uint64_t version);

/* Who holds an inode. */
struct reopen_state {
    bool own;         /* somebody holds its own version, or may do so */
    bool several;     /* not all handles read the same version */
    uint64_t version; /* another version that is held; 0: none */
};

struct reopen_state reopen_state(struct reopen *reopen, uint64_t ino);

#endif
