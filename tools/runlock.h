/*
 * One run at a time, for a command that goes through a whole store in many commits.
 *
 * The lock is flock(2) on a file of its own beside the store, STORE-rotate: on the store's own file
 * it would cost SQLite its locks, and a folder may have several stores. It ends with the process,
 * however that ends; the empty file stays, since whoever removed it might remove another run's.
 */
#ifndef TOOLS_RUNLOCK_H
#define TOOLS_RUNLOCK_H

#include "fail.h"

/*
 * Take the lock of the store at the path `store`, without waiting. Failures are reported, another
 * run as well.
 * out: ret_fd  caller closes it, which releases the lock
 */
enum status runlock_take(const struct task *task, const char *store, int *ret_fd);

#endif
