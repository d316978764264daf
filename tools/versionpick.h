/*
 * Which version of a secret a person means: by its number, by its label, or the current one.
 *
 * Prints nothing. The labels' names are known here and nowhere else in the tool.
 */
#ifndef TOOLS_VERSIONPICK_H
#define TOOLS_VERSIONPICK_H

#include "store.h"

#define VERSION_LABELS "current, previous, pending"

/* The label with this name; false if there is none. */
bool version_label_parse(const char *name, enum store_label *ret_label);

const char *version_label_name(enum store_label label);

/*
 * The labels of a version, one after the other.
 * in/out: at  0 at first; where to go on. Returns NULL after the last.
 */
const char *version_next_label(const struct store_details *details, uint64_t version, unsigned *at);

/*
 * The version of the secret `node` with this number or, where that is 0, with this label.
 * out: ret_version  its id errors: NO_VERSION, and those of store_details()
 */
STORE_CHECKED enum store_err version_pick(struct store *store, uint64_t node, uint32_t number,
                                          enum store_label label, uint64_t *ret_version);

#endif
