/*
 * Statements and transactions: all SQL but the schema. Each statement is prepared when first used.
 */
#include "db_state.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Columns are always id, generation, lookup, seal, box; NULL where the table has none. */
static const char *const sql[STATEMENT_COUNT] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [EACH_SLOT] = "SELECT id, generation, NULL, NULL, box FROM slot ORDER BY id",
    [EACH_NODE] = "SELECT id, generation, lookup, seal, box FROM node ORDER BY id",
    [EACH_VERSION] = "SELECT id, generation, NULL, seal, NULL FROM version ORDER BY id",
    [SINCE_NODE] = "SELECT id, generation, lookup, seal, box FROM node WHERE generation > ?1",
    [FROM_VERSION] = "SELECT id, generation, NULL, seal, NULL FROM version WHERE id >= ?1",
    [FROM_NODE] = "SELECT id, generation, lookup, seal, NULL FROM node WHERE id >= ?1 ORDER BY id",
    [GET_NODE] = "SELECT id, generation, lookup, seal, box FROM node WHERE id = ?1",
    [GET_VERSION] = "SELECT id, generation, NULL, seal, box FROM version WHERE id = ?1",
    [GET_ROOT] = "SELECT id, NULL, NULL, seal, box, uuid FROM root ORDER BY id",
    [PUT_SLOT] = "REPLACE INTO slot(id, generation, box) VALUES(?1, ?2, ?5)",
    [PUT_NODE] = "REPLACE INTO node(id, generation, lookup, seal, box) VALUES(?1, ?2, ?3, ?4, ?5)",
    [PUT_VERSION] = "INSERT INTO version(id, generation, seal, box) VALUES(?1, ?2, ?4, ?5)",
    [PUT_ROOT] = "REPLACE INTO root(id, uuid, seal, box) VALUES(1, ?6, ?4, ?5)",
    [DELETE_SLOT] = "DELETE FROM slot WHERE id = ?1",
    [DELETE_NODE] = "DELETE FROM node WHERE id = ?1",
    [DELETE_VERSION] = "DELETE FROM version WHERE id = ?1",
};

/* ---- Errors and statements ----------------------------------------------- */

static enum store_err code_of(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: /* see db_wait.c */
        return STORE_ERR_BUSY;
    case SQLITE_NOMEM:
        return STORE_ERR_NO_MEMORY;
    case SQLITE_FULL:
        return STORE_ERR_NO_SPACE;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return STORE_ERR_DENIED;
    case SQLITE_NOTADB:
        return STORE_ERR_FORMAT;
    case SQLITE_ERROR: /* the schema is checked first, so only a changed file makes our SQL fail */
    case SQLITE_CORRUPT:
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
        return STORE_ERR_INTEGRITY;
    default:
        return STORE_ERR_IO;
    }
}

/* What SQLite stumbled over in a file that somebody has changed. */
static const char *damage_of(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_CORRUPT:
        return "its pages are damaged";
    case SQLITE_TOOBIG:
        return "a row in it is too large";
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return "a row in it breaks the rules of its table";
    default:
        return "its tables are not those of a secretfs store";
    }
}

static enum store_err note_failure(const struct db *db, const char *operation, int sys_errno)
{
    int code = sqlite3_extended_errcode(db->handle);
    enum store_err err = code_of(code);
    /* SQLite tells a full disk from other failures in write(2) only, not in ftruncate(2) and the
     * like; nor why a file can't be opened. */
    if (err == STORE_ERR_IO && fault_code_of(sys_errno) == STORE_ERR_NO_SPACE)
        err = STORE_ERR_NO_SPACE;
    if ((code & 0xff) == SQLITE_CANTOPEN && sys_errno != 0)
        err = fault_code_of(sys_errno);
    fault_note(err, operation, "the store", err == STORE_ERR_INTEGRITY ? damage_of(code) : NULL,
               sys_errno, code);
    return err;
}

enum store_err db_note_failure(const struct db *db, const char *operation)
{
    return note_failure(db, operation, sqlite3_system_errno(db->handle));
}

static sqlite3_stmt *statement(struct db *db, enum statement which)
{
    sqlite3_stmt **s = &db->statements[which];
    if (*s == NULL)
        sqlite3_prepare_v3(db->handle, sql[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL);
    return *s;
}

/* Run one that returns no rows. */
static enum store_err run(struct db *db, sqlite3_stmt *s, const char *operation)
{
    enum store_err err = STORE_OK;
    if (s == NULL || sqlite3_step(s) != SQLITE_DONE)
        err = db_fail(db, operation);
    if (s) {
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
    }
    return err;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    db_end(db);
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    db_wait_unregister(db);
    free(db->path);
    free(db->wal_path);
    free(db);
}

const char *db_path(const struct db *db)
{
    return db->path;
}

/* ---- Transactions -------------------------------------------------------- */

/* What ends it is made first: without memory later, the transaction would stay open. */
static enum store_err begin(struct db *db, enum statement which)
{
    if (statement(db, ROLLBACK) == NULL)
        return db_fail(db, "begin");
    enum store_err err = run(db, statement(db, which), "begin");
    db->in_transaction = !err;
    return err;
}

enum store_err db_begin_read(struct db *db)
{
    return begin(db, BEGIN_READ);
}

enum store_err db_begin_write(struct db *db)
{
    return begin(db, BEGIN_WRITE);
}

enum store_err db_commit(struct db *db)
{
    errno = 0;
    enum store_err err = run(db, statement(db, COMMIT), "commit");
    /* What SQLite keeps of errno is not of a COMMIT that fails, but of something before. */
    if (err == STORE_ERR_IO || err == STORE_ERR_NO_SPACE)
        err = note_failure(db, "commit", errno);
    if (err)
        db_end(db);
    db->in_transaction = false;
    return err;
}

void db_end(struct db *db)
{
    if (!db->in_transaction)
        return;
    struct store_fault kept = *store_fault();
    if (!sqlite3_get_autocommit(db->handle) && run(db, statement(db, ROLLBACK), "roll back"))
        fault_note(kept.code, kept.operation, "the store", NULL, kept.sys_errno, kept.sqlite_code);
    db->in_transaction = false;
}

/* ---- Reading ------------------------------------------------------------- */

/* A blob column of exactly `len` bytes (0: any); what is no such blob sets *ret_bad. */
static const unsigned char *blob(sqlite3_stmt *s, int column, size_t len, bool *ret_bad)
{
    const unsigned char *bytes = sqlite3_column_blob(s, column);
    size_t found = (size_t)sqlite3_column_bytes(s, column);
    if (sqlite3_column_type(s, column) != SQLITE_BLOB || bytes == NULL ||
        (len > 0 && found != len) || found > DB_BOX_MAX)
        *ret_bad = true;
    return bytes;
}

/* Which of the columns of a statement are of its table, and not a NULL of our own SQL. */
struct shape {
    bool lookup;
    bool seal;
    bool box;
};

static bool of_table(sqlite3_stmt *s, int column)
{
    return sqlite3_column_decltype(s, column) != NULL;
}

static enum store_err read_row(sqlite3_stmt *s, enum table table, const struct shape *shape,
                               struct row *ret_row)
{
    bool bad = false;
    int64_t id = sqlite3_column_int64(s, 0);
    int64_t generation = sqlite3_column_int64(s, 1);

    *ret_row = (struct row){
        .id = (uint64_t)id,
        .generation = (uint64_t)generation,
        .lookup = shape->lookup ? blob(s, 2, ROW_LOOKUP_BYTES, &bad) : NULL,
        .seal = shape->seal ? blob(s, 3, ROW_SEAL_BYTES, &bad) : NULL,
        .box = shape->box ? blob(s, 4, 0, &bad) : NULL,
        .box_len = shape->box ? (size_t)sqlite3_column_bytes(s, 4) : 0,
    };
    if (bad || id <= 0 || generation < 0)
        return fault_row(STORE_ERR_INTEGRITY, "read", table_name(table), (uint64_t)id,
                         "its columns are malformed");
    return STORE_OK;
}

/* Call `visit` for every row of a statement whose parameters are bound. */
static enum store_err walk(struct db *db, sqlite3_stmt *s, enum table table, db_visit_fn *visit,
                           void *arg, size_t *ret_rows)
{
    const struct shape shape = {of_table(s, 2), of_table(s, 3), of_table(s, 4)};
    enum store_err err = STORE_OK;
    size_t rows = 0;
    int code;

    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        struct row row;
        rows++;
        err = read_row(s, table, &shape, &row);
        if (!err)
            err = visit(arg, &row);
        if (err)
            break;
    }
    if (!err && code != SQLITE_DONE)
        err = db_fail(db, "read the store");
    sqlite3_reset(s);
    *ret_rows = rows;
    return err;
}

static enum store_err walk_from(struct db *db, enum statement which, enum table table,
                                uint64_t number, db_visit_fn *visit, void *arg, size_t *ret_rows)
{
    sqlite3_stmt *s = statement(db, which);
    if (s == NULL || (sqlite3_bind_parameter_count(s) > 0 &&
                      sqlite3_bind_int64(s, 1, (int64_t)number) != SQLITE_OK))
        return db_fail(db, "read the store");
    return walk(db, s, table, visit, arg, ret_rows);
}

enum store_err db_each(struct db *db, enum table table, db_visit_fn *visit, void *arg)
{
    static const enum statement each[TABLE_END] = {
        [TABLE_SLOT] = EACH_SLOT, [TABLE_NODE] = EACH_NODE, [TABLE_VERSION] = EACH_VERSION};
    size_t rows;
    return walk_from(db, each[table], table, 0, visit, arg, &rows);
}

enum store_err db_each_node_since(struct db *db, uint64_t generation, db_visit_fn *visit, void *arg)
{
    size_t rows;
    return walk_from(db, SINCE_NODE, TABLE_NODE, generation, visit, arg, &rows);
}

enum store_err db_each_from(struct db *db, enum table table, uint64_t id, db_visit_fn *visit,
                            void *arg)
{
    size_t rows;
    return walk_from(db, table == TABLE_VERSION ? FROM_VERSION : FROM_NODE, table, id, visit, arg,
                     &rows);
}

enum store_err db_get(struct db *db, enum table table, uint64_t id, db_visit_fn *visit, void *arg)
{
    size_t rows = 0;
    enum store_err err = walk_from(db, table == TABLE_VERSION ? GET_VERSION : GET_NODE, table, id,
                                   visit, arg, &rows);
    if (!err && rows == 0)
        return fault_row(STORE_ERR_NOT_FOUND, "read", table_name(table), id, "the row is missing");
    return err;
}

struct root_visit {
    sqlite3_stmt *s;
    db_visit_root_fn *visit;
    void *arg;
};

static enum store_err visit_root(void *arg, const struct row *row)
{
    struct root_visit *v = arg;
    bool bad = false;
    const unsigned char *uuid = blob(v->s, 5, STORE_UUID_BYTES, &bad);
    if (bad || uuid == NULL)
        return fault_row(STORE_ERR_INTEGRITY, "read", "root", row->id, "its columns are malformed");
    return v->visit(v->arg, uuid, row);
}

enum store_err db_get_root(struct db *db, db_visit_root_fn *visit, void *arg)
{
    struct root_visit v = {statement(db, GET_ROOT), visit, arg};
    size_t rows = 0;
    if (v.s == NULL)
        return db_fail(db, "read the store");
    enum store_err err = walk(db, v.s, TABLE_ROOT, visit_root, &v, &rows);
    if (!err && rows != 1)
        return fault(STORE_ERR_INTEGRITY, "read", "root", "there must be exactly one row");
    return err;
}

/* ---- Writing ------------------------------------------------------------- */

static int bind_blob(sqlite3_stmt *s, int parameter, const void *bytes, size_t len)
{
    if (bytes == NULL)
        return SQLITE_OK;
    return sqlite3_bind_blob64(s, parameter, bytes, len, SQLITE_STATIC);
}

static enum store_err put(struct db *db, enum statement which, const unsigned char *uuid,
                          const struct row *row)
{
    sqlite3_stmt *s = statement(db, which);
    if (s == NULL)
        return db_fail(db, "write the store");
    /* Parameters that a statement doesn't use are out of range; run() finds any other failure. */
    sqlite3_bind_int64(s, 1, (int64_t)row->id);
    sqlite3_bind_int64(s, 2, (int64_t)row->generation);
    bind_blob(s, 3, row->lookup, ROW_LOOKUP_BYTES);
    bind_blob(s, 4, row->seal, ROW_SEAL_BYTES);
    if (bind_blob(s, 5, row->box, row->box_len) != SQLITE_OK)
        return db_fail(db, "write the store");
    bind_blob(s, 6, uuid, STORE_UUID_BYTES);
    return run(db, s, "write the store");
}

enum store_err db_put(struct db *db, enum table table, const struct row *row)
{
    static const enum statement puts[TABLE_END] = {
        [TABLE_SLOT] = PUT_SLOT, [TABLE_NODE] = PUT_NODE, [TABLE_VERSION] = PUT_VERSION};
    return put(db, puts[table], NULL, row);
}

enum store_err db_put_root(struct db *db, const unsigned char uuid[STORE_UUID_BYTES],
                           const struct row *row)
{
    return put(db, PUT_ROOT, uuid, row);
}

enum store_err db_delete(struct db *db, enum table table, uint64_t id)
{
    static const enum statement deletes[TABLE_END] = {
        [TABLE_SLOT] = DELETE_SLOT, [TABLE_NODE] = DELETE_NODE, [TABLE_VERSION] = DELETE_VERSION};
    sqlite3_stmt *s = statement(db, deletes[table]);
    if (s == NULL || sqlite3_bind_int64(s, 1, (int64_t)id) != SQLITE_OK)
        return db_fail(db, "write the store");
    return run(db, s, "write the store");
}

enum store_err db_compact(struct db *db)
{
    if (sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
        SQLITE_OK)
        return db_fail(db, "empty the write-ahead log");
    return STORE_OK;
}

enum store_err db_sync_log(const struct db *db)
{
    /* The log, unlike the file, has no locks that would go with a descriptor of it. */
    int fd = open(db->wal_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int failed = fd < 0 ? errno != ENOENT : fdatasync(fd) != 0;
    enum store_err err = failed ? fault_errno(errno, "sync", "the write-ahead log") : STORE_OK;
    if (fd >= 0)
        close(fd);
    return err;
}

void db_touch(struct db *db)
{
    utimensat(AT_FDCWD, db->wal_path, NULL, 0);
}
