/*
 * Where the chain of a file ends, from its last lines and without the key. FORMAT.md, "The record".
 * Private.
 */
#ifndef STORE_AUDIT_TAIL_H
#define STORE_AUDIT_TAIL_H

#include "audit.h"

/* Lines, one after the other: where they begin, and what the chain needs of them. */
struct audit_run {
    int64_t first; /* the number of the first, where it is known */
    size_t count;  /* of lines, incomplete ones too */
    bool any;      /* whether there is a whole one */
};

/* The number of the line at the beginning of a file, of which `text` is the beginning too; 0 where
 * it is none. */
uint64_t audit_first_number(const char *text, size_t len);

/* Take one more line into account: what it says of the number of the first. */
void audit_run_add(struct audit_run *run, const char *line, size_t len);

/*
 * Follow the chain to the end of the file that `fd` reads.
 * out:    ret_found  false: there is no whole line in it, and nothing else is set
 *         ret_end    where the last line ends; behind it there may be a beginning of one
 * errors: IO, NO_MEMORY …
 */
STORE_CHECKED enum store_err audit_tail_find(int fd, bool *ret_found, struct audit_head *ret_head,
                                             uint64_t *ret_end);

#endif
