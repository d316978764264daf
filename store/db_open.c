/*
 * Opening: the settings that make SQLite fit for a file that others may have written
 * (https://www.sqlite.org/security.html, "Untrusted SQLite Database Files"), format and schema.
 */
#include "db_state.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x73656366 /* "secf" */
#define PAGE_BYTES 4096
/* A large transaction touches the pages of the lookup hashes in random order, 60 bytes a secret;
 * those that don't fit are written to the log each time. Of small stores it takes what they have.
 */
#define WRITER_CACHE_KIB 131072

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* The schema, to the letter: a file whose schema has another text, or more or less, is refused. */
static const struct {
    const char *name;
    const char *sql;
} schema[] = {
    {"node",
     "CREATE TABLE node(id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, lookup BLOB NOT "
     "NULL, seal BLOB NOT NULL, box BLOB NOT NULL) STRICT"},
    {"node_generation", "CREATE INDEX node_generation ON node(generation)"},
    {"node_lookup", "CREATE UNIQUE INDEX node_lookup ON node(lookup)"},
    {"root",
     "CREATE TABLE root(id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, seal BLOB NOT NULL, box "
     "BLOB NOT NULL) STRICT"},
    {"slot", "CREATE TABLE slot(id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, box BLOB NOT "
             "NULL) STRICT"},
    {"version",
     "CREATE TABLE version(id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, seal BLOB "
     "NOT NULL, box BLOB NOT NULL) STRICT"},
};
#define SCHEMA_COUNT (sizeof schema / sizeof schema[0])

static enum store_err execute(struct db *db, const char *text)
{
    return sqlite3_exec(db->handle, text, NULL, NULL, NULL) == SQLITE_OK
               ? STORE_OK
               : db_fail(db, "set up the store");
}

/* ---- Opening ------------------------------------------------------------- */

static enum store_err harden(struct db *db)
{
    sqlite3 *h = db->handle;
    sqlite3_extended_result_codes(h, 1);
    db_wait_start(db);
    sqlite3_db_config(h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_limit(h, SQLITE_LIMIT_LENGTH, DB_BOX_MAX + 4096);
    sqlite3_limit(h, SQLITE_LIMIT_SQL_LENGTH, 1024);
    sqlite3_limit(h, SQLITE_LIMIT_COLUMN, 16);
    sqlite3_limit(h, SQLITE_LIMIT_EXPR_DEPTH, 16);
    sqlite3_limit(h, SQLITE_LIMIT_COMPOUND_SELECT, 2);
    sqlite3_limit(h, SQLITE_LIMIT_VDBE_OP, 1000);
    sqlite3_limit(h, SQLITE_LIMIT_FUNCTION_ARG, 4);
    sqlite3_limit(h, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(h, SQLITE_LIMIT_VARIABLE_NUMBER, 8);
    sqlite3_limit(h, SQLITE_LIMIT_TRIGGER_DEPTH, 1);
    return execute(db, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;"
                       "PRAGMA secure_delete=ON; PRAGMA synchronous=FULL;");
}

static enum store_err read_number(struct db *db, const char *query, int *ret_number)
{
    sqlite3_stmt *s = NULL;
    enum store_err err = STORE_OK;
    if (sqlite3_prepare_v2(db->handle, query, -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        err = db_fail(db, "open the store");
    else
        *ret_number = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return err;
}

static enum store_err check_format(struct db *db)
{
    int application = 0;
    int format = 0;
    int page_bytes = 0;
    char object[64];
    enum store_err err = read_number(db, "PRAGMA application_id", &application);
    if (!err)
        err = read_number(db, "PRAGMA user_version", &format);
    if (!err)
        err = read_number(db, "PRAGMA page_size", &page_bytes);
    if (err)
        return err;
    if (application != APPLICATION_ID)
        return fault(STORE_ERR_FORMAT, "open the store", NULL, "it is not a secretfs store");
    if (format == STORE_FORMAT && page_bytes != PAGE_BYTES)
        return fault(STORE_ERR_INTEGRITY, "open the store", NULL,
                     "its pages are not of " TEXT(PAGE_BYTES) " bytes");
    if (format == STORE_FORMAT)
        return STORE_OK;
    snprintf(object, sizeof object, "format version %d", format);
    return fault(STORE_ERR_FORMAT, "open the store", object,
                 "this program knows version " TEXT(STORE_FORMAT) " only");
}

/* A copy made by SQLite's own tools may have another journal mode; following commits needs the log.
 */
static enum store_err insist_on_wal(struct db *db)
{
    sqlite3_stmt *s = NULL;
    enum store_err err = STORE_OK;

    if (sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode=WAL", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        err = db_fail(db, "open the store");
    else if (strcmp((const char *)sqlite3_column_text(s, 0), "wal") != 0)
        err = fault(STORE_ERR_FORMAT, "open the store", NULL, "it can't be used with a WAL");
    sqlite3_finalize(s);
    return err;
}

/* Compare what the file has with `schema`, both in the order of names; false after a fault. */
static bool same_object(const char *name, const char *text, size_t n)
{
    int order = n < SCHEMA_COUNT ? strcmp(name, schema[n].name) : -1;
    const char *reason = order < 0   ? "it is not of a secretfs store"
                         : order > 0 ? "it is missing"
                                     : "it is defined in another way";

    if (order == 0 && text && strcmp(text, schema[n].sql) == 0)
        return true;
    fault_note(STORE_ERR_INTEGRITY, "open the store", order > 0 ? schema[n].name : name, reason, 0,
               0);
    return false;
}

static enum store_err check_schema(struct db *db)
{
    sqlite3_stmt *s = NULL;
    enum store_err err = STORE_OK;
    size_t n = 0;
    int code;

    if (sqlite3_prepare_v2(db->handle, "SELECT name, sql FROM sqlite_schema ORDER BY name", -1, &s,
                           NULL) != SQLITE_OK)
        return db_fail(db, "open the store");
    for (; !err && (code = sqlite3_step(s)) == SQLITE_ROW; n++) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        if (!same_object(name ? name : "", (const char *)sqlite3_column_text(s, 1), n))
            err = STORE_ERR_INTEGRITY;
    }
    if (!err && code != SQLITE_DONE)
        err = db_fail(db, "open the store");
    sqlite3_finalize(s);
    if (!err && n != SCHEMA_COUNT)
        err = fault(STORE_ERR_INTEGRITY, "open the store", schema[n].name, "it is missing");
    return err;
}

static bool identify(const char *path, struct db_identity *ret_identity)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    *ret_identity = (struct db_identity){st.st_dev, st.st_ino};
    return true;
}

static bool in_place(const char *path, const struct db_identity *opened)
{
    struct db_identity now;
    return identify(path, &now) && now.device == opened->device && now.inode == opened->inode;
}

enum store_err db_check_files(const struct db *db)
{
    if (!in_place(db->path, &db->file))
        return fault(STORE_ERR_INTEGRITY, "verify", "the store's file",
                     "it was removed or another is in its place");
    if (!in_place(db->wal_path, &db->wal))
        return fault(STORE_ERR_INTEGRITY, "verify", "the write-ahead log",
                     "it was removed or another is in its place");
    return STORE_OK;
}

static enum store_err db_new(const char *path, int flags, struct db **ret_db)
{
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return fault_errno(ENOMEM, "open", "the store");
    db->path = realpath(path, NULL);
    if (db->path == NULL || asprintf(&db->wal_path, "%s-wal", db->path) < 0) {
        enum store_err err = fault_errno(errno, "open", "the store");
        db->wal_path = NULL; /* asprintf(3) leaves anything in it */
        db_close(db);
        return err;
    }
    if (!db_wait_register(db)) {
        db_close(db);
        return fault_errno(ENOMEM, "open", "the store");
    }
    if (sqlite3_open_v2(db->path, &db->handle,
                        flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                            SQLITE_OPEN_EXRESCODE,
                        db->vfs_name) != SQLITE_OK) {
        enum store_err err =
            db->handle ? db_fail(db, "open the store") : fault_errno(ENOMEM, "open", "the store");
        db_close(db);
        return err;
    }
    enum store_err err = harden(db);
    if (err)
        db_close(db);
    else
        *ret_db = db;
    return err;
}

static enum store_err write_schema(struct db *db)
{
    char text[256];
    enum store_err err =
        execute(db, "PRAGMA page_size=" TEXT(PAGE_BYTES) "; PRAGMA journal_mode=WAL; BEGIN;");
    snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             STORE_FORMAT);
    if (!err)
        err = execute(db, text);
    for (size_t i = 0; i < SCHEMA_COUNT && !err; i++)
        if (strncmp(schema[i].sql, "CREATE TABLE", 12) == 0)
            err = execute(db, schema[i].sql);
    for (size_t i = 0; i < SCHEMA_COUNT && !err; i++)
        if (strncmp(schema[i].sql, "CREATE TABLE", 12) != 0)
            err = execute(db, schema[i].sql);
    return err ? err : execute(db, "COMMIT");
}

enum store_err db_create(const char *path, struct db **ret_db)
{
    /* The file is made by open(2) for its mode and O_EXCL; SQLite has no descriptor of it yet. */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fault_errno(errno, "make", "the store");
    close(fd);
    struct db *db = NULL;
    enum store_err err = db_new(path, SQLITE_OPEN_READWRITE, &db);
    if (!err)
        err = write_schema(db);
    if (err) {
        db_close(db);
        db_unlink(path);
        return err;
    }
    *ret_db = db;
    return STORE_OK;
}

void db_unlink(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[PATH_MAX];

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (snprintf(name, sizeof name, "%s%s", path, suffixes[i]) < (int)sizeof name)
            unlink(name);
}

enum store_err db_open(const char *path, enum store_access access, struct db **ret_db)
{
    struct stat st;
    struct db *db = NULL;

    if (stat(path, &st) != 0)
        return fault_errno(errno, "open", "the store");
    if (!S_ISREG(st.st_mode))
        return fault(STORE_ERR_FORMAT, "open the store", NULL, "it is not a regular file");
    /* A reader, too, has to write the shared memory that says how far it has read. */
    enum store_err err = db_new(path, SQLITE_OPEN_READWRITE, &db);
    if (err)
        return err;
    err = check_format(db);
    if (!err)
        err = check_schema(db);
    if (!err)
        err = insist_on_wal(db);
    if (!err) /* the first read makes the log, if there is none */
        err = check_schema(db);
    if (!err && (!identify(db->path, &db->file) || !identify(db->wal_path, &db->wal)))
        err = fault_errno(errno, "open", "the store");
    if (!err)
        err = execute(db, access == STORE_READ_WRITE ? "PRAGMA cache_size=-" TEXT(WRITER_CACHE_KIB)
                                                     : "PRAGMA query_only=ON");
    if (err)
        db_close(db);
    else
        *ret_db = db;
    return err;
}
