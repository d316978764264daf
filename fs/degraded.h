/*
 * Whether the worker serves less than the store has: a change that does not verify was not applied,
 * or the store could not be loaded. Written by the worker into the memory that outlives it, read by
 * the supervisor, which tells people.
 */
#ifndef FS_DEGRADED_H
#define FS_DEGRADED_H

#include "control.h"
#include "handoff.h"

/*
 * Note how following or loading went: 0 ends it, BUSY leaves it as it is. Takes the words from the
 * thread's store_fault(), so call it before anything else fails. One thread at a time.
 */
void degraded_note(struct kept *kept, enum store_err err);

/* Fill in what a reply tells of it. The words come from the worker, so they are made printable. */
void degraded_tell(const struct kept *kept, struct control_reply *ret_reply);

/* Have the service manager's status say so, and no longer when it is over. */
struct degraded_status {
    int64_t since_s; /* of what it says; 0: that all is well */
};
void degraded_notify(struct degraded_status *status, const struct kept *kept);

#endif
