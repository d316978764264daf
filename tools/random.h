/*
 * Random bytes from the kernel, straight into memory that is wiped.
 *
 * Must not know what they are for. The crypto library's own generator is below store/.
 */
#ifndef TOOLS_RANDOM_H
#define TOOLS_RANDOM_H

#include "secmem.h"

/*
 * Make `ret_bytes` hold `count` random bytes.
 * errors: NO_MEMORY, MEMORY_LOCK, IO
 */
STORE_CHECKED enum store_err random_alloc(struct secbuf *ret_bytes, size_t count);

/* Fill the whole capacity of `bytes` anew. errors: IO */
STORE_CHECKED enum store_err random_refill(struct secbuf *bytes);

#endif
