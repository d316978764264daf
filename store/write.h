/*
 * Rows written inside a transaction, for the modules that make and change stores. Private.
 * Each sets what it wrote in the index too. The errors are those of db_put() and index_set_node().
 */
#ifndef STORE_WRITE_H
#define STORE_WRITE_H

#include "state.h"

/* Start the generation after `from`; a write transaction of the file is open already. */
void write_start(struct store *store, const struct root_record *from);

STORE_CHECKED enum store_err write_slot(struct store *store, uint64_t id,
                                        const struct keyslot *slot);

/* Write a node that lists no new version, and link it into its directory. */
STORE_CHECKED enum store_err write_node(struct store *store, const struct node_record *record);

/* Write the version that `record` lists last, and the record. */
STORE_CHECKED enum store_err write_version(struct store *store, const struct node_record *record,
                                           const struct secbuf *value);

/*
 * Write rows again that say the same as before, under other keys. A node keeps the generation of
 * its row, which is the commit that changed it.
 */
STORE_CHECKED enum store_err write_node_again(struct store *store,
                                              const struct node_record *record);
STORE_CHECKED enum store_err write_version_again(struct store *store, uint64_t node,
                                                 const struct store_version *version,
                                                 const struct secbuf *value);

/* Delete a row. The index is told by the record that stops listing a version, or by its user. */
STORE_CHECKED enum store_err write_deletion(struct store *store, enum table table, uint64_t id);

#endif
