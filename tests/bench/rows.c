/*
 * See rows.h.
 */
#include "rows.h"
#include "bench.h"
#include "grow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die_of(sqlite3 *db, const char *what)
{
    die(what, db ? sqlite3_errmsg(db) : strerror(ENOMEM));
}

void rows_execute(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die_of(db, sql);
}

sqlite3_stmt *rows_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
        die_of(db, sql);
    return statement;
}

static sqlite3 *open_file(const char *path, int flags)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        die_of(db, "open");
    return db;
}

sqlite3 *rows_open(const char *path)
{
    sqlite3 *db = open_file(path, 0);
    rows_execute(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    return db;
}

sqlite3 *rows_create(const char *path, sqlite3 *like)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_CREATE);
    sqlite3_stmt *schema = rows_prepare(like, "SELECT sql FROM sqlite_schema ORDER BY rowid");

    rows_execute(db, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    while (sqlite3_step(schema) == SQLITE_ROW)
        rows_execute(db, (const char *)sqlite3_column_text(schema, 0));
    sqlite3_finalize(schema);
    return db;
}

static struct bytes copy_of(sqlite3_stmt *s, int column)
{
    struct bytes bytes = {.len = (size_t)sqlite3_column_bytes(s, column)};

    if (bytes.len == 0)
        return bytes;
    bytes.data = malloc(bytes.len);
    if (bytes.data == NULL)
        die("keep the rows", strerror(errno));
    memcpy(bytes.data, sqlite3_column_blob(s, column), bytes.len);
    return bytes;
}

static struct row row_of(sqlite3_stmt *s)
{
    return (struct row){.id = sqlite3_column_int64(s, 0),
                        .generation = sqlite3_column_int64(s, 1),
                        .lookup = copy_of(s, 2),
                        .seal = copy_of(s, 3),
                        .box = copy_of(s, 4)};
}

struct rows rows_read(sqlite3 *db, const char *table)
{
    sqlite3_stmt *s =
        rows_prepare(db, strcmp(table, "node") == 0
                             ? "SELECT id, generation, lookup, seal, box FROM node ORDER BY id"
                             : "SELECT id, generation, NULL, seal, box FROM version ORDER BY id");
    struct rows rows = {.count = 0};

    while (sqlite3_step(s) == SQLITE_ROW) {
        struct row *items = grow(rows.items, rows.count, &rows.capacity, sizeof *items);
        if (items == NULL)
            die("keep the rows", strerror(errno));
        rows.items = items;
        rows.items[rows.count++] = row_of(s);
    }
    sqlite3_finalize(s);
    return rows;
}

struct row rows_root(sqlite3 *db)
{
    sqlite3_stmt *s = rows_prepare(db, "SELECT id, 0, uuid, seal, box FROM root");

    if (sqlite3_step(s) != SQLITE_ROW)
        die_of(db, "read the root record");
    struct row row = row_of(s);
    sqlite3_finalize(s);
    return row;
}

static void bind(sqlite3_stmt *s, int parameter, const struct bytes *bytes)
{
    if (bytes->data)
        sqlite3_bind_blob64(s, parameter, bytes->data, bytes->len, SQLITE_STATIC);
}

void rows_write(sqlite3 *db, sqlite3_stmt *statement, const struct row *row)
{
    /* What the statement does not have is out of range, and no error. */
    if (sqlite3_bind_parameter_count(statement) > 0) {
        sqlite3_bind_int64(statement, 1, row->id);
        sqlite3_bind_int64(statement, 2, row->generation);
        bind(statement, 3, &row->lookup);
        bind(statement, 4, &row->seal);
        bind(statement, 5, &row->box);
    }
    if (sqlite3_step(statement) != SQLITE_DONE)
        die_of(db, "write a row");
    sqlite3_reset(statement);
}
