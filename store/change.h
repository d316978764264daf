/*
 * What the operations on paths share: change.c has those on nodes and values, label.c those on
 * labels, removed.c those on what is deleted. Private to them. All of it belongs inside a
 * transaction.
 */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "state.h"

/* Where a path leads: its node's record, or the directory and name where it would be. */
struct target {
    const struct index_node *parent; /* NULL for the root */
    const struct index_node *node;   /* NULL where there is none */
    const char *name;
    size_t name_len;
};

/* errors: INVALID (outside a transaction), NOT_FOUND (parent), NOT_DIRECTORY, NAME */
STORE_CHECKED enum store_err change_find(struct store *store, const char *path, struct target *ret);

/* Keep in a directory's own record when its entries last changed, where no entry will tell any
 * more. */
STORE_CHECKED enum store_err change_touch_directory(struct store *store, uint64_t id,
                                                    int64_t when_ns);

/* The record of the node that `path` leads to. errors: NOT_FOUND, NOT_DIRECTORY … */
STORE_CHECKED enum store_err change_find_node(struct store *store, const char *path,
                                              struct node_record *ret_record);

/* The record of the secret that `path` leads to. errors: NOT_FOUND, NOT_DIRECTORY, IS_DIRECTORY …
 */
STORE_CHECKED enum store_err change_find_secret(struct store *store, const char *path,
                                                struct node_record *ret_record);

/* Whether `value` is what `version` has. errors: as version_read() */
STORE_CHECKED enum store_err change_same_value(struct store *store, uint64_t version,
                                               const struct secbuf *value, bool *ret_same);

/*
 * Write a new version of the secret `record`, and the record, with `label` on it: CURRENT or
 * PENDING. Where there are too many versions, the oldest without a label goes. errors: LIMIT, IO …
 */
STORE_CHECKED enum store_err change_add_version(struct store *store, struct node_record *record,
                                                enum store_label label, const struct secbuf *value);

/* Have the current version become the previous one, and `version` current and no longer pending. It
 * need not be listed yet; the record is not written. */
void change_make_current(const struct store *store, struct node_record *record, uint64_t version);

#endif
