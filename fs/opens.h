/*
 * Who has opened which version, as the worker notes it for the supervisor: a bounded table in the
 * memory that they share, so that it outlives a worker. The worker can't say more of a caller than
 * the thread and the user that the request has; readers.h makes processes of them.
 *
 * The worker alone writes the slots, and what the supervisor has taken is only a hint to it which
 * slot it may use again. Neither ever waits for the other: no lock is in the memory that they
 * share, as a worker may be killed at any moment.
 */
#ifndef FS_OPENS_H
#define FS_OPENS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define OPENS_WAYS 8 /* slots that a key can be in */
#define OPENS_SLOTS 4096

/* What one thread, as one user, has opened of one version. */
struct open_slot {
    _Atomic uint32_t stamp; /* odd: it is being filled, or the worker died as it was */
    _Atomic uint32_t thread;
    _Atomic uint64_t version; /* 0: nothing was ever here */
    _Atomic uint32_t user;
    _Atomic uint32_t count;
    _Atomic int64_t first_ns; /* CLOCK_REALTIME */
    _Atomic int64_t last_ns;
    _Atomic uint64_t taken; /* opens_mark() of what the supervisor has taken */
};

struct opens {
    _Atomic bool pending;   /* the supervisor has been told that there is somebody new */
    _Atomic uint64_t noted; /* opens, in all */
    _Atomic uint64_t lost;  /* opens that the supervisor was too late for */
    struct open_slot slots[OPENS_SLOTS];
};

/* A copy of a slot. */
struct open_note {
    uint32_t stamp;
    uint32_t thread;
    uint32_t user;
    uint32_t count;
    uint64_t version;
    int64_t first_ns;
    int64_t last_ns;
};

/*
 * Note that `thread` opens `version`. Of somebody new the supervisor hears by a word over `socket`
 * (handoff.h), unless it has been told already. Any thread of the worker.
 */
void opens_note(struct opens *opens, int socket, uint32_t thread, uint32_t user, uint64_t version);

/* Copy slot `i`. False if there is nothing in it. For the supervisor. */
bool opens_look(const struct opens *opens, unsigned i, struct open_note *ret_note);

/* Let the worker use the slot again, if that has not changed since. */
void opens_take(struct opens *opens, unsigned i, const struct open_note *note);

#endif
