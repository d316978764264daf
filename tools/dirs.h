/*
 * Missing parent directories of a file: making them, and taking them back.
 *
 * Knows no store and no key.
 */
#ifndef TOOLS_DIRS_H
#define TOOLS_DIRS_H

#include <stdbool.h>
#include <stddef.h>

/* What dirs_make_parents() made. Zero-initialise; dirs_release() afterwards. */
struct made_dirs {
    char *file;
    size_t shortest; /* length of the shortest path that was made; 0: none was */
};

/* Make the missing directories above `file`, mode 0700, durably. False with errno set on failure.
 */
bool dirs_make_parents(const char *file, struct made_dirs *made);

/* Remove those that were made, as far as they are empty. */
void dirs_undo(const struct made_dirs *made);

void dirs_release(struct made_dirs *made);

/* Make the entry of `file` in its directory durable. False with errno set on failure. */
bool dirs_sync_parent(const char *file);

#endif
