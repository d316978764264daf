/*
 * What the operations on paths share: change.c has those on nodes and values, label.c those on
 * labels. Private to them. All of it belongs inside a transaction.
 */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "state.h"

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
