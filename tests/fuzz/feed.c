/*
 * What a daemon follows: it has loaded state A, and somebody without the key puts rows of state B
 * into the file, deletes rows and changes bytes of them. The input is a list of such changes, four
 * bytes each: what, of which table, which row, with what.
 */
#include "base.h"
#include "changes.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define CHANGE_BYTES 4
#define CHANGES_MAX 32

static const char *const tables[] = {"slot", "node", "version", "root"};
static const char *const columns[] = {"box", "seal", "lookup"};

static void execute(sqlite3 *db, const char *format, const char *table, int number)
{
    char *sql = sqlite3_mprintf(format, table, table, number);
    sqlite3_exec(db, sql, NULL, NULL, NULL); /* may well not be possible */
    sqlite3_free(sql);
}

static void change_byte(sqlite3 *db, const char *table, const char *column, int row, int value)
{
    sqlite3_blob *blob = NULL;
    if (sqlite3_blob_open(db, "main", table, column, row, 1, &blob) == SQLITE_OK) {
        unsigned char byte = (unsigned char)value;
        int at = sqlite3_blob_bytes(blob) > value ? value : 0;
        sqlite3_blob_write(blob, &byte, 1, at);
    }
    sqlite3_blob_close(blob);
}

static void change(sqlite3 *db, const uint8_t *c)
{
    const char *table = tables[c[1] % 4];
    int row = c[2] % 40;

    switch (c[0] % 6) {
    case 0:
        execute(db, "REPLACE INTO main.%s SELECT * FROM b.%s WHERE id = %d", table, row);
        break;
    case 1:
        execute(db, "DELETE FROM main.%s WHERE '%s' <> '' AND id = %d", table, row);
        break;
    case 2: /* all of it */
        execute(db, "DELETE FROM main.%s WHERE '%s' <> '' AND 0 <= %d", table, 0);
        execute(db, "REPLACE INTO main.%s SELECT * FROM b.%s WHERE id > %d", table, 0);
        break;
    case 3:
        change_byte(db, table, columns[c[1] / 4 % 3], row, c[3]);
        break;
    case 4: /* under another number */
        execute(db,
                c[3] % 2 ? "UPDATE OR REPLACE main.%s SET id = id + 1 WHERE '%s' <> '' AND id = %d"
                         : "UPDATE main.%s SET id = id + 23 WHERE '%s' <> '' AND id = %d",
                table, row);
        break;
    default:
        execute(db,
                c[3] % 2 ? "UPDATE main.%s SET generation = 9 WHERE '%s' <> '' AND id = %d"
                         : "UPDATE main.%s SET generation = 4 WHERE '%s' <> '' AND id = %d",
                table, row);
    }
}

static void doctor(const char *path, const uint8_t *data, size_t len)
{
    sqlite3 *db = NULL;
    const char *b = base_write("b.db", base_b()->bytes, base_b()->len);

    FUZZ_PROMISE(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
    execute(db, "ATTACH '%s' AS b; SELECT '%s', %d; BEGIN", b, 0);
    for (size_t i = 0; i + CHANGE_BYTES <= len && i < (size_t)CHANGE_BYTES * CHANGES_MAX;
         i += CHANGE_BYTES)
        change(db, data + i);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct store *store = NULL;
    struct store_changes changes = STORE_CHANGES_INIT;
    const char *path = base_write("store.db", base_a()->bytes, base_a()->len);

    FUZZ_PROMISE(base_open(path, &store) == STORE_OK);
    doctor(path, data, len);
    enum store_err err = store_refresh(store, &changes);
    store_changes_release(&changes);
    base_check(store); /* the state verified last stays in use */
    if (!err)
        FUZZ_PROMISE(store_refresh(store, NULL) == STORE_OK);
    store_close(store);
    /* Whoever loads it now sees the same, or nothing. */
    if (base_open(path, &store) == STORE_OK)
        base_check(store);
    store_close(store);
    return 0;
}
