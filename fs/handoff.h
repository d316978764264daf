/*
 * What the supervisor gives a worker, and what outlives one.
 *
 * A worker is started with three descriptors: a socket to the supervisor, over which the handoff
 * comes as one message and which ends when the supervisor does; the FUSE device; and the memory of
 * struct kept.
 */
#ifndef FS_HANDOFF_H
#define FS_HANDOFF_H

#include "secmem.h"
#include "store.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

enum handoff_fd { HANDOFF_SOCKET = 3, HANDOFF_DEVICE, HANDOFF_KEPT, HANDOFF_END };

/* The worker's exit statuses beyond those of the program. */
enum { WORKER_ENDED = 0, WORKER_CANT_RESUME = 64 };

/* The worker says that it serves by sending this byte. */
#define HANDOFF_SERVING 'S'

struct handoff {
    char store[PATH_MAX];
    char subdir[PATH_MAX]; /* empty: the whole store */
    uint32_t uid;          /* the worker's */
    uint32_t gid;
    uint32_t workers;
    bool direct_io;
    bool debug;
    bool allow_swap;
    unsigned char root_key[STORE_KEY_BYTES];
};

/*
 * Shared between the supervisor and its workers, one after the other: the kernel's INIT request,
 * which it sends once and every worker has to see; and the generation that the kernel's caches are
 * up to date with, 0 before there is any.
 */
struct kept {
    uint32_t init_bytes;
    unsigned char init[4096];
    _Atomic uint64_t applied;
};

/* Send `handoff` with the key. Returns false with errno. */
bool handoff_send(int socket, const struct handoff *handoff, const struct secbuf *root_key);

/* Receive it; the key goes into `ret_root_key` (caller owns) and is wiped from `ret_handoff`. */
bool handoff_receive(int socket, struct handoff *ret_handoff, struct secbuf *ret_root_key);

#endif
