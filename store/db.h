/*
 * The SQL module: the only one that knows SQLite. Rows in, rows out; what they mean is for others.
 * Private. FORMAT.md, "Tables".
 *
 * One connection, to be used by one thread at a time. Never open or close the file by other means:
 * closing any descriptor of it drops SQLite's POSIX locks.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "error.h"
#include "row.h"
#include "store.h"

struct db;

/* Make the file (mode 0600; it must not exist) with an empty schema. errors: EXISTS, DENIED, IO …
 */
STORE_CHECKED enum store_err db_create(const char *path, struct db **ret_db);

/* Open an existing one and check format and schema. errors: NO_STORE, FORMAT, DENIED, BUSY … */
STORE_CHECKED enum store_err db_open(const char *path, enum store_access access,
                                     struct db **ret_db);

void db_close(struct db *db);

/*
 * Let whatever is done from now on wait no longer for locks of other processes than `wait_ms` from
 * this call, and then fail with BUSY; 0 tries once. Negative, and after opening: 5 s for each lock,
 * 10 s for those that are held in passing only.
 */
void db_limit_waiting(struct db *db, int wait_ms);

/*
 * Whether the files that were opened are still the ones at their paths: what is committed to others
 * isn't seen through this connection. errors: INTEGRITY
 */
STORE_CHECKED enum store_err db_check_files(const struct db *db);

/* Remove the files of a store whose making has failed; it must be closed. Keeps store_fault(). */
void db_unlink(const char *path);

/* The absolute path of the file; lives as long as `db`. */
const char *db_path(const struct db *db);

/* A transaction that sees one state of the file. Every begin has its db_end() or db_commit(). */
STORE_CHECKED enum store_err db_begin_read(struct db *db);
STORE_CHECKED enum store_err db_begin_write(struct db *db);

/* errors: BUSY, NO_SPACE, IO; nothing was written then, and the transaction is over. */
STORE_CHECKED enum store_err db_commit(struct db *db);

/* End a transaction without writing anything. Does nothing outside one. */
void db_end(struct db *db);

/* Called for a row; pointers live for the call only. A negative result ends the walk and is
 * returned. */
typedef enum store_err db_visit_fn(void *arg, const struct row *row);

/* Every row of `table` in the order of ids; versions without their boxes. */
STORE_CHECKED enum store_err db_each(struct db *db, enum table table, db_visit_fn *visit,
                                     void *arg);

/* The nodes' rows that were written by a generation above `generation`. */
STORE_CHECKED enum store_err db_each_node_since(struct db *db, uint64_t generation,
                                                db_visit_fn *visit, void *arg);

/* The rows of `table` with an id of at least `id`; versions without their boxes. */
STORE_CHECKED enum store_err db_each_from(struct db *db, enum table table, uint64_t id,
                                          db_visit_fn *visit, void *arg);

/* The one row `id`, box included. errors: NOT_FOUND, and what `visit` returns. */
STORE_CHECKED enum store_err db_get(struct db *db, enum table table, uint64_t id,
                                    db_visit_fn *visit, void *arg);

/* The root row, with the store's uuid beside it; both live for the call. errors: INTEGRITY if
 * missing */
typedef enum store_err db_visit_root_fn(void *arg, const unsigned char uuid[STORE_UUID_BYTES],
                                        const struct row *row);
STORE_CHECKED enum store_err db_get_root(struct db *db, db_visit_root_fn *visit, void *arg);

/* Insert the row or replace the one with its id. */
STORE_CHECKED enum store_err db_put(struct db *db, enum table table, const struct row *row);
STORE_CHECKED enum store_err db_put_root(struct db *db, const unsigned char uuid[STORE_UUID_BYTES],
                                         const struct row *row);

STORE_CHECKED enum store_err db_delete(struct db *db, enum table table, uint64_t id);

/* Fold the write-ahead log into the file and empty it. errors: BUSY while others read from it. */
STORE_CHECKED enum store_err db_compact(struct db *db);

/*
 * Copy the state of the file that the open transaction sees into the empty file at `path`, which is
 * complete by itself then, and on its disk; `copied` is told of pages on the way, in multiples of
 * DB_COPY_PAGES. errors: NO_SPACE, IO, DENIED, INTEGRITY
 */
#define DB_COPY_PAGES 1024
typedef void db_copied_fn(void *arg, uint64_t done, uint64_t total);
STORE_CHECKED enum store_err db_backup(struct db *db, const char *path, db_copied_fn *copied,
                                       void *arg);

/* Make what the write-ahead log holds durable: a commit of a writer that was killed before it did
 * so may be seen too. errors: IO */
STORE_CHECKED enum store_err db_sync_log(const struct db *db);

/* Change the time stamp of the write-ahead log, so that whoever watches it looks again. */
void db_touch(struct db *db);

#endif
