/*
 * For the tests of the tree: all of it checked, in one line.
 */
#ifndef TREE_HELPERS_H
#define TREE_HELPERS_H

#include "helpers.h"
#include "tree.h"

#include <sys/stat.h>

/* The tree of a store whose top is `subdir` (NULL: the root). */
struct tree tree_of(struct store *s, const char *subdir);

struct stat stat_of(struct tree *t, uint64_t ino);

/* What a lookup gives, which is what stat_of() gives. */
struct stat lookup(struct tree *t, uint64_t directory, const char *name);

/* Each in a transaction of its own. */
void set_policy(struct store *s, const char *path, const struct policy *policy);
void move_path(struct store *s, const char *from, const char *to);

#endif
