/*
 * The inside of the SQL module, shared by db*.c; the one place that includes SQLite.
 * Private to them.
 */
#ifndef STORE_DB_STATE_H
#define STORE_DB_STATE_H

#include "db.h"

#include <sqlite3.h>
#include <sys/types.h>

#define DB_BOX_MAX (STORE_VALUE_MAX + STORE_VALUE_MAX / 4) /* Padmé adds 12% at most */

struct db_identity {
    dev_t device;
    ino_t inode;
};

enum statement {
    BEGIN_READ,
    BEGIN_WRITE,
    COMMIT,
    ROLLBACK,
    EACH_SLOT,
    EACH_NODE,
    EACH_VERSION,
    SINCE_NODE,
    FROM_VERSION,
    FROM_NODE,
    GET_NODE,
    GET_VERSION,
    GET_ROOT,
    PUT_SLOT,
    PUT_NODE,
    PUT_VERSION,
    PUT_ROOT,
    DELETE_SLOT,
    DELETE_NODE,
    DELETE_VERSION,
    STATEMENT_COUNT,
};

struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENT_COUNT]; /* prepared when first used */
    char *path;
    char *wal_path;
    bool in_transaction;
    struct db_identity file; /* as they were when opened */
    struct db_identity wal;

    sqlite3_vfs vfs; /* db_wait.c */
    sqlite3_vfs *default_vfs;
    char vfs_name[32];
    int64_t deadline_ns;   /* of CLOCK_MONOTONIC; 0: each wait has a time of its own … */
    int64_t busy_until_ns; /* … and the present one lasts until then */
};

/* Make the VFS `db->vfs_name`, before the connection is opened; false where that fails. */
bool db_wait_register(struct db *db);
void db_wait_unregister(struct db *db); /* after it was closed */

/* Let the open connection wait for locks. */
void db_wait_start(struct db *db);

/* Note what SQLite's last call on `db` failed with, and return the code for it; never STORE_OK,
 * which the second one shows to compilers and analysers. */
enum store_err db_note_failure(const struct db *db, const char *operation);

static inline enum store_err db_fail(const struct db *db, const char *operation)
{
    enum store_err err = db_note_failure(db, operation);
    if (err == STORE_OK)
        __builtin_unreachable();
    return err;
}

#endif
