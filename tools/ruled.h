/*
 * Telling which units and executables alone may open something, for people and as JSON.
 */
#ifndef TOOLS_RULED_H
#define TOOLS_RULED_H

#include "store.h"

#include <jansson.h>

/* The directories above `path` (as store_plain_path() gives it) that have rules, the root first. */
struct ruled {
    unsigned count;
    struct {
        char *path; /* "/" for the root */
        struct store_rules rules;
    } items[STORE_DEPTH_MAX];
};

/* ruled_release() afterwards, also on failure. NULL is allowed there. */
STORE_CHECKED enum store_err ruled_find(struct store *store, const char *path,
                                        struct ruled **ret_ruled);
void ruled_release(struct ruled *ruled);

/* Lines of 'show': those of the node's own, then those that it inherits. */
void ruled_print(const struct store_rules *own, const struct ruled *above);

/* {units, executables}; null where there are none. */
json_t *ruled_json(const struct store_rules *rules);

/* The same for each of them, with its path: an array. */
json_t *ruled_json_above(const struct ruled *above);

#endif
