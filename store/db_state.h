/*
 * The inside of the SQL module, shared by db_open.c and db.c; the one place that includes SQLite.
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
};

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
