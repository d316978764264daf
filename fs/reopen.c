/*
 * Handles of inodes, counted in a table of fixed size: see reopen.h.
 *
 * Order of writes, for a worker that is killed between two of them: an open is counted before its
 * request is noted as done, and a release is noted before it is counted. One that gets another
 * answer than before is taken back first, and is no longer noted by then.
 */
#include "reopen.h"
#include "loop.h"

/* ---- Requests that were sent again --------------------------------------- */

/* NULL where it was not counted. */
static struct reopen_counted *find_counted(struct reopen_kept *kept, uint64_t request)
{
    bool again = request & FUSE_UNIQUE_RESEND;

    for (size_t i = 0; again && i < REOPEN_RECENT; i++)
        if (kept->recent[i].request == (request & ~FUSE_UNIQUE_RESEND))
            return &kept->recent[i];
    return NULL;
}

static void note_counted(const struct reopen *reopen, uint64_t request, uint64_t version)
{
    struct reopen_kept *kept = reopen->kept;
    struct reopen_counted *counted = &kept->recent[kept->next % REOPEN_RECENT];

    counted->request = 0;
    counted->version = version;
    counted->worker = reopen->worker;
    counted->request = request & ~FUSE_UNIQUE_RESEND;
    kept->next++;
}

/* ---- The table ----------------------------------------------------------- */

static size_t bucket_of(uint64_t ino)
{
    return ino * 0x9e3779b97f4a7c15u >> 32 & (REOPEN_BUCKETS - 1);
}

static bool in_use(const struct reopen_inode *inode)
{
    return inode->own > 0 || inode->others > 0;
}

static struct reopen_inode *find(struct reopen_kept *kept, uint64_t ino)
{
    struct reopen_inode *bucket = kept->inodes[bucket_of(ino)];

    for (size_t i = 0; i < REOPEN_IN_BUCKET; i++)
        if (bucket[i].ino == ino && in_use(&bucket[i]))
            return &bucket[i];
    return NULL;
}

/* NULL if there is no room. */
static struct reopen_inode *find_or_make(struct reopen_kept *kept, uint64_t ino)
{
    struct reopen_inode *bucket = kept->inodes[bucket_of(ino)];
    struct reopen_inode *inode = find(kept, ino);

    for (size_t i = 0; inode == NULL && i < REOPEN_IN_BUCKET; i++)
        if (!in_use(&bucket[i])) {
            inode = &bucket[i];
            inode->version = 0;
            inode->several = false;
            inode->ino = ino;
        }
    return inode;
}

static void add_handle(struct reopen_kept *kept, uint64_t ino, uint64_t version)
{
    struct reopen_inode *inode = find_or_make(kept, ino);

    if (inode == NULL) {
        kept->uncounted[bucket_of(ino)]++;
    } else if (version == ino) {
        inode->own++;
    } else {
        if (inode->others > 0 && inode->version != version)
            inode->several = true;
        inode->version = version;
        inode->others++;
    }
}

static void remove_handle(struct reopen_kept *kept, uint64_t ino, uint64_t version)
{
    struct reopen_inode *inode = find(kept, ino);
    _Atomic uint32_t *uncounted = &kept->uncounted[bucket_of(ino)];

    if (inode && version == ino && inode->own > 0) {
        inode->own--;
    } else if (inode && version != ino && inode->others > 0) {
        inode->others--;
        if (inode->others == 0)
            inode->several = false;
    } else if (*uncounted > 0) {
        (*uncounted)--;
    }
}

void reopen_add(struct reopen *reopen, uint64_t request, uint64_t ino, uint64_t version)
{
    pthread_mutex_lock(&reopen->lock);
    struct reopen_counted *counted = find_counted(reopen->kept, request);
    /* A worker died before its answer, and a rotation came in between. */
    if (counted && counted->worker != reopen->worker && counted->version != version) {
        counted->request = 0;
        remove_handle(reopen->kept, ino, counted->version);
        counted = NULL;
    }
    if (counted == NULL) {
        add_handle(reopen->kept, ino, version);
        note_counted(reopen, request, version);
    }
    pthread_mutex_unlock(&reopen->lock);
}

void reopen_remove(struct reopen *reopen, uint64_t request, uint64_t ino, uint64_t version)
{
    pthread_mutex_lock(&reopen->lock);
    if (find_counted(reopen->kept, request) == NULL) {
        note_counted(reopen, request, 0);
        remove_handle(reopen->kept, ino, version);
    }
    pthread_mutex_unlock(&reopen->lock);
}

struct reopen_state reopen_state(struct reopen *reopen, uint64_t ino)
{
    pthread_mutex_lock(&reopen->lock);
    const struct reopen_inode *inode = find(reopen->kept, ino);
    struct reopen_state state = {.own = reopen->kept->uncounted[bucket_of(ino)] > 0};
    if (inode) {
        state.own |= inode->own > 0;
        state.version = inode->others > 0 ? inode->version : 0;
        state.several = inode->several || (state.own && state.version);
    }
    pthread_mutex_unlock(&reopen->lock);
    return state;
}

/* ---- Turning back -------------------------------------------------------- */

static enum reopen_way turn_back(struct reopen_retry *retry, uint64_t request, uint32_t thread,
                                 uint64_t node, uint64_t ino)
{
    retry->first = request;
    retry->second = 0;
    retry->ino = ino;
    retry->node = node;
    retry->thread = thread;
    return REOPEN_AGAIN;
}

/* A request that is sent again gets the same answer. */
static enum reopen_way decide(struct reopen_retry *retry, uint64_t request, uint32_t thread,
                              uint64_t node, uint64_t ino, bool superseded)
{
    bool known = retry->thread == thread;

    request &= ~FUSE_UNIQUE_RESEND;
    if (known && retry->first == request)
        return REOPEN_AGAIN;
    if (known && retry->second == 0)
        retry->second = request;
    if (!superseded)
        return REOPEN_OWN;
    if (!known || retry->second != request)
        return turn_back(retry, request, thread, node, ino);
    if (retry->ino == ino)
        return REOPEN_CURRENT;
    /* It has a path, and was overtaken once more. The kernel does not look it up a third time. */
    return retry->node == node ? REOPEN_OWN_PAST_CACHE
                               : turn_back(retry, request, thread, node, ino);
}

enum reopen_way reopen_way(struct reopen *reopen, uint64_t request, uint32_t thread, uint64_t node,
                           uint64_t ino, bool superseded)
{
    struct reopen_retry *retry = &reopen->kept->retries[thread % REOPEN_RETRIES];

    if (thread == 0)
        return superseded ? REOPEN_CURRENT : REOPEN_OWN;
    if (!superseded && retry->thread != thread)
        return REOPEN_OWN;
    pthread_mutex_lock(&reopen->lock);
    enum reopen_way way = decide(retry, request, thread, node, ino, superseded);
    pthread_mutex_unlock(&reopen->lock);
    return way;
}
