/*
 * SQLite without us: the rows of a store, taken as they are, and written into another file by
 * whoever has no more to do than that.
 */
#ifndef TESTS_BENCH_ROWS_H
#define TESTS_BENCH_ROWS_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    unsigned char *data;
    size_t len;
};

struct row {
    int64_t id;
    int64_t generation;
    struct bytes lookup; /* NULL where the table has none */
    struct bytes seal;
    struct bytes box;
};

struct rows {
    struct row *items;
    size_t count;
    size_t capacity;
};

/* Open an existing file, with a log and synced at each commit, as the store's own is. Ends the
 * program where it can't, as all here do. */
sqlite3 *rows_open(const char *path);

/* Make a file at `path` with the schema and pages of the store `like`. */
sqlite3 *rows_create(const char *path, sqlite3 *like);

void rows_execute(sqlite3 *db, const char *sql);
sqlite3_stmt *rows_prepare(sqlite3 *db, const char *sql);

/* The rows of "node" or "version", in the order of their ids. The caller frees the items. */
struct rows rows_read(sqlite3 *db, const char *table);

/* The one row of "root": its columns uuid, seal and box as lookup, seal and box. */
struct row rows_root(sqlite3 *db);

#define ROWS_INSERT_NODE \
    "INSERT INTO node(id, generation, lookup, seal, box) VALUES(?1, ?2, ?3, ?4, ?5)"
#define ROWS_REPLACE_NODE \
    "REPLACE INTO node(id, generation, lookup, seal, box) VALUES(?1, ?2, ?3, ?4, ?5)"
#define ROWS_INSERT_VERSION "INSERT INTO version(id, generation, seal, box) VALUES(?1, ?2, ?4, ?5)"
#define ROWS_REPLACE_ROOT "REPLACE INTO root(id, uuid, seal, box) VALUES(1, ?3, ?4, ?5)"

/* Bind the columns that the statement has, and run it. */
void rows_write(sqlite3 *db, sqlite3_stmt *statement, const struct row *row);

#endif
