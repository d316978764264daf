/*
 * The worker: the process that answers requests. It has the store, its key and the FUSE device, and
 * no right to do anything else: it never mounts, and gives up root's capabilities before it opens
 * the store.
 */
#ifndef FS_WORKER_H
#define FS_WORKER_H

/* The name that ps(1) shows, and that the supervisor starts it under. */
#define WORKER_NAME "secretfs-worker"

/* Serve until the session or the supervisor ends. Returns the exit status. */
int worker_main(void);

#endif
