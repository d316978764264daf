/*
 * Which version of a secret a person means: by its number, by its label, or the current one.
 *
 * Prints nothing. The labels are known here and nowhere else in the tool.
 */
#ifndef TOOLS_VERSIONPICK_H
#define TOOLS_VERSIONPICK_H

#include "store.h"

/* The label of a version, "current" or "previous"; NULL for none. */
const char *version_label(const struct store_details *details, uint64_t version);

/*
 * The version of the secret `node` with this number or label; the current one when both are left
 * out. in:     number  0: not given;  label  NULL: not given out:    ret_version  its id errors:
 * NO_VERSION, and those of store_details()
 */
STORE_CHECKED enum store_err version_pick(struct store *store, uint64_t node, uint32_t number,
                                          const char *label, uint64_t *ret_version);

#endif
