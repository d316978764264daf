/*
 * The thread of the supervisor that tells the worker who calls (callers.h). Looking at a process
 * may wait for a READ under way, see recorder.h, and the supervisor must not.
 *
 * The worker is not trusted. It can learn of a thread what an answer says, and keep this thread
 * busy; it can't name a file for us to look at.
 */
#ifndef FS_RESOLVER_H
#define FS_RESOLVER_H

#include <stdint.h>

struct resolver;

/*
 * Begin to answer questions that come over `socket`, of whichever worker, for the mount at `path`,
 * which must outlive it. NULL with errno.
 */
struct resolver *resolver_start(int socket, const char *path);

/* The mount has that device, as in st_dev. */
void resolver_set_device(struct resolver *resolver, uint64_t device);

/* End the thread, and the use of the socket. Waits for a READ under way, if the thread does. NULL
 * is allowed. */
void resolver_stop(struct resolver *resolver);

#endif
