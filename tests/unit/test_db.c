/*
 * The SQL module: rows go in and come out, and a file that isn't exactly a store of the format is
 * refused: other numbers, another schema, columns of another shape.
 */
#include "db.h"
#include "helpers.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static enum store_err try_open(const char *path)
{
    struct db *db = NULL;
    enum store_err err = db_open(path, STORE_READ_ONLY, &db);
    db_close(db);
    return err;
}

/* ---- Rows ---------------------------------------------------------------------------------------
 */

/* What a walk has seen. */
struct seen {
    unsigned rows;
    uint64_t last;
    uint64_t generation;
    unsigned char box[8];
    size_t box_len;
    bool has_box;
    enum store_err answer;
};

static enum store_err see(void *arg, const struct row *row)
{
    struct seen *seen = arg;
    seen->rows++;
    assert_true(row->id > seen->last);
    seen->last = row->id;
    seen->generation = row->generation;
    seen->has_box = row->box != NULL;
    seen->box_len = row->box_len;
    if (row->box)
        memcpy(seen->box, row->box, row->box_len < 8 ? row->box_len : 8);
    return seen->answer;
}

static void put(struct db *db, enum table table, uint64_t id, uint64_t generation, const char *box)
{
    unsigned char lookup[ROW_LOOKUP_BYTES] = {0};
    unsigned char seal[ROW_SEAL_BYTES] = {0};
    struct row row = {.id = id,
                      .generation = generation,
                      .seal = table == TABLE_SLOT ? NULL : seal,
                      .box = (const unsigned char *)box,
                      .box_len = strlen(box)};
    memcpy(lookup, &id, sizeof id);
    if (table == TABLE_NODE)
        row.lookup = lookup;
    assert_ok(db_put(db, table, &row));
}

static struct seen walk(struct db *db, enum table table)
{
    struct seen seen = {0};
    assert_ok(db_each(db, table, see, &seen));
    return seen;
}

static struct db *new_db(const struct fixture *f)
{
    struct db *db = NULL;
    assert_int_equal(unlink(f->path), 0);
    assert_ok(db_create(f->path, &db));
    return db;
}

static void test_rows(void **state)
{
    struct db *db = new_db(*state);
    struct seen seen = {0};

    assert_ok(db_begin_write(db));
    for (uint64_t id = 5; id > 0; id--)
        put(db, TABLE_NODE, id, 10 * id, "node");
    put(db, TABLE_VERSION, 7, 3, "value");
    put(db, TABLE_SLOT, 1, 1, "slot");
    assert_ok(db_commit(db));

    assert_int_equal(walk(db, TABLE_NODE).rows, 5);
    assert_true(walk(db, TABLE_NODE).has_box);
    assert_false(walk(db, TABLE_VERSION).has_box); /* values stay on disk */
    assert_int_equal(walk(db, TABLE_SLOT).rows, 1);
    assert_ok(db_each_node_since(db, 30, see, &seen));
    assert_int_equal(seen.rows, 2);
    seen = (struct seen){0};
    assert_ok(db_each_from(db, TABLE_NODE, 2, see, &seen));
    assert_int_equal(seen.rows, 4);
    seen = (struct seen){0};
    assert_ok(db_each_from(db, TABLE_VERSION, 8, see, &seen));
    assert_int_equal(seen.rows, 0);
    assert_ok(db_get(db, TABLE_VERSION, 7, see, &seen));
    assert_int_equal(seen.generation, 3);
    assert_memory_equal(seen.box, "value", 5);
    assert_error(db_get(db, TABLE_VERSION, 8, see, &seen), STORE_ERR_NOT_FOUND);
    seen = (struct seen){.answer = STORE_ERR_KEY};
    assert_error(db_each(db, TABLE_NODE, see, &seen), STORE_ERR_KEY); /* what the visitor says */
    assert_int_equal(seen.rows, 1);
    db_close(db);
}

static void test_replacing_and_deleting(void **state)
{
    struct db *db = new_db(*state);
    struct seen seen = {0};

    assert_ok(db_begin_write(db));
    put(db, TABLE_NODE, 1, 1, "one");
    put(db, TABLE_NODE, 1, 2, "two");
    put(db, TABLE_NODE, 2, 2, "more");
    assert_ok(db_delete(db, TABLE_NODE, 2));
    assert_ok(db_delete(db, TABLE_NODE, 3)); /* absent */
    assert_ok(db_commit(db));
    assert_ok(db_get(db, TABLE_NODE, 1, see, &seen));
    assert_int_equal(seen.generation, 2);
    assert_memory_equal(seen.box, "two", 3);
    assert_int_equal(walk(db, TABLE_NODE).rows, 1);

    /* A version is never replaced. */
    struct row row = {.id = 7, .generation = 1, .box = (const unsigned char *)"x", .box_len = 1};
    unsigned char seal[ROW_SEAL_BYTES] = {0};
    row.seal = seal;
    assert_ok(db_begin_write(db));
    assert_ok(db_put(db, TABLE_VERSION, &row));
    assert_error(db_put(db, TABLE_VERSION, &row), STORE_ERR_INTEGRITY);
    db_end(db);
    assert_int_equal(walk(db, TABLE_VERSION).rows, 0); /* rolled back */
    db_end(db);
    db_close(db);
    db_close(NULL);
}

/* A walk inside a transaction keeps seeing the state at its begin. */
static void test_snapshots(void **state)
{
    struct fixture *f = *state;
    struct db *writer = new_db(f);
    struct db *reader = NULL;

    assert_ok(db_begin_write(writer));
    put(writer, TABLE_NODE, 1, 1, "one");
    assert_ok(db_commit(writer));
    assert_ok(db_open(f->path, STORE_READ_ONLY, &reader));
    assert_ok(db_begin_read(reader));
    assert_int_equal(walk(reader, TABLE_NODE).rows, 1);
    assert_ok(db_begin_write(writer));
    put(writer, TABLE_NODE, 2, 2, "two");
    assert_int_equal(walk(writer, TABLE_NODE).rows, 2);
    assert_ok(db_commit(writer));
    assert_int_equal(walk(reader, TABLE_NODE).rows, 1);
    db_end(reader);
    assert_int_equal(walk(reader, TABLE_NODE).rows, 2);
    assert_error(db_delete(reader, TABLE_NODE, 1), STORE_ERR_DENIED);
    assert_error(db_begin_write(reader), STORE_ERR_DENIED);
    db_close(reader);
    db_close(writer);
}

/* While somebody reads, the log can't be emptied; after it, it is. */
static void test_compact(void **state)
{
    struct fixture *f = *state;
    struct db *writer = new_db(f);
    struct db *reader = NULL;
    char wal[128];
    struct stat st;

    assert_ok(db_open(f->path, STORE_READ_ONLY, &reader));
    assert_ok(db_begin_read(reader));
    assert_int_equal(walk(reader, TABLE_NODE).rows, 0);
    assert_ok(db_begin_write(writer));
    put(writer, TABLE_NODE, 1, 1, "one");
    assert_ok(db_commit(writer));
    assert_error(db_compact(writer), STORE_ERR_BUSY);
    db_end(reader);
    assert_ok(db_compact(writer));
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_size, 0);
    db_close(reader);
    db_close(writer);
}

static void test_settings(void **state)
{
    struct fixture *f = *state;
    struct db *db = new_db(f);
    unsigned char header[100];
    char *resolved = realpath(f->path, NULL);

    assert_non_null(resolved);
    assert_string_equal(db_path(db), resolved);
    free(resolved);
    db_close(db);
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, header, sizeof header), sizeof header);
    close(fd);
    assert_memory_equal(header, "SQLite format 3", 16);
    assert_int_equal(header[18], 2);                 /* write-ahead log */
    assert_memory_equal(header + 60, "\0\0\0\1", 4); /* user_version: the format */
    assert_memory_equal(header + 68, "secf", 4);     /* application_id */
}

/* ---- Files that are no store
 * ---------------------------------------------------------------------- */

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static void test_not_a_store(void **state)
{
    struct fixture *f = *state;
    char path[128];
    char text[5000];

    snprintf(path, sizeof path, "%s/other", f->folder);
    assert_error(try_open(path), STORE_ERR_NO_STORE);
    assert_error(try_open(f->folder), STORE_ERR_FORMAT); /* a folder */
    write_file(path, "", 0);
    assert_error(try_open(path), STORE_ERR_FORMAT);
    memset(text, 'x', sizeof text);
    write_file(path, text, sizeof text);
    assert_error(try_open(path), STORE_ERR_FORMAT);
    write_file(path, "SQLite format 3", 16);
    assert_int_not_equal(try_open(path), STORE_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_error(try_open(path), STORE_ERR_NO_STORE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_error(try_open(path), STORE_ERR_FORMAT); /* and does not wait for a writer */
}

static void test_other_formats(void **state)
{
    struct fixture *f = *state;
    assert_ok(try_open(f->path));
    raw_sql(f, "PRAGMA user_version=2");
    assert_error(try_open(f->path), STORE_ERR_FORMAT);
    assert_string_equal(store_fault()->object, "format version 2");
    raw_sql(f, "PRAGMA user_version=0");
    assert_error(try_open(f->path), STORE_ERR_FORMAT);
    raw_sql(f, "PRAGMA user_version=1; PRAGMA application_id=0");
    assert_error(try_open(f->path), STORE_ERR_FORMAT);
    raw_sql(f, "PRAGMA application_id=1936024422");
    assert_ok(try_open(f->path));
}

static void test_other_schemas(void **state)
{
    struct fixture *f = *state;
    static const char *const changes[] = {
        "CREATE TABLE extra(x)",
        "CREATE TABLE aaa(x)",
        "CREATE VIEW extra AS SELECT * FROM node",
        "CREATE TRIGGER extra AFTER INSERT ON node BEGIN DELETE FROM version; END",
        "CREATE INDEX extra ON node(seal)",
        "CREATE VIRTUAL TABLE extra USING fts5(x)",
        "DROP INDEX node_lookup",
        "DROP INDEX node_generation",
        "DROP TABLE slot",
        "ALTER TABLE node ADD COLUMN x",
        "ALTER TABLE version RENAME TO vversion",
        "ALTER TABLE slot RENAME COLUMN box TO bbox",
        "ANALYZE",
        "DROP INDEX node_lookup; CREATE INDEX node_lookup ON node(lookup)",
        "DROP INDEX node_lookup; CREATE UNIQUE INDEX node_lookup ON node(lookup) WHERE id > 20",
        "DROP TABLE slot; CREATE TABLE slot(id INTEGER PRIMARY KEY, generation, box) STRICT",
        "DROP TABLE slot; CREATE VIEW slot AS SELECT 1 AS id, 1 AS generation, x'00' AS box",
    };
    char copy[128];
    snprintf(copy, sizeof copy, "%s/copy", f->folder);
    copy_behind(f->path, copy);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        /* Not every statement is possible everywhere (ALTER adding to a STRICT table isn't). */
        sqlite3 *db = NULL;
        assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
        bool changed = sqlite3_exec(db, changes[i], NULL, NULL, NULL) == SQLITE_OK;
        sqlite3_close(db);
        if (changed || strstr(changes[i], "DROP"))
            assert_error(try_open(f->path), STORE_ERR_INTEGRITY);
        else
            assert_non_null(strstr("ALTER TABLE node ADD COLUMN x;CREATE TABLE slot"
                                   ";CREATE VIRTUAL TABLE extra USING fts5(x)",
                                   changes[i]));
        copy_behind(copy, f->path);
    }
    assert_ok(try_open(f->path));
}

/* ---- Columns of another shape
 * ----------------------------------------------------------------------- */

static void test_columns(void **state)
{
    struct fixture *f = *state;
    static const char *const changes[] = {
        "UPDATE node SET seal = zeroblob(39)",
        "UPDATE node SET seal = zeroblob(41)",
        "UPDATE node SET seal = zeroblob(0)",
        "UPDATE node SET lookup = zeroblob(31)",
        "UPDATE node SET lookup = zeroblob(33)",
        "UPDATE node SET lookup = zeroblob(0)",
        "UPDATE node SET box = zeroblob(0)",
        "UPDATE node SET box = zeroblob(256)",
        "UPDATE node SET box = zeroblob(8193)",
        "UPDATE node SET box = zeroblob(1000000)",
        "UPDATE node SET generation = -1",
        "UPDATE node SET id = -16",
        "UPDATE node SET id = 0",
        "UPDATE root SET seal = zeroblob(39)",
        "UPDATE root SET box = zeroblob(0)",
        "UPDATE root SET box = zeroblob(257)",
        "UPDATE root SET uuid = zeroblob(15)",
        "UPDATE root SET uuid = zeroblob(16)",
        "UPDATE root SET id = 2",
        "UPDATE slot SET box = zeroblob(0)",
        "UPDATE slot SET box = zeroblob(4000)",
        "UPDATE slot SET generation = -1",
        "UPDATE slot SET id = -1",
        "UPDATE slot SET id = 2",
        "INSERT INTO version VALUES(99, 1, zeroblob(39), zeroblob(256))",
        "INSERT INTO version VALUES(99, -1, zeroblob(40), zeroblob(256))",
        "INSERT INTO version VALUES(-1, 1, zeroblob(40), zeroblob(256))",
    };
    char copy[128];
    snprintf(copy, sizeof copy, "%s/copy", f->folder);
    copy_behind(f->path, copy);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        raw_sql(f, changes[i]);
        enum store_err err = try_load(f);
        if (err != STORE_ERR_INTEGRITY)
            print_error("after %s:\n", changes[i]);
        assert_error(err, STORE_ERR_INTEGRITY);
        copy_behind(copy, f->path);
    }
    assert_ok(try_load(f));
}

/* A box larger than any record can be, in a file that SQLite finds in order. */
static void test_huge_box(void **state)
{
    struct fixture *f = *state;
    raw_sql(f, "UPDATE node SET box = zeroblob(50000000)");
    assert_error(try_load(f), STORE_ERR_INTEGRITY);
}

/* Take NOT NULL out of the schema, write a NULL, and put the schema back as it was. */
static void write_null(const struct fixture *f, const char *table, const char *column)
{
    raw_sql_format(f,
                   "CREATE TABLE kept AS SELECT sql FROM sqlite_schema WHERE name = '%s';"
                   "PRAGMA writable_schema=ON;"
                   "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = '%s'",
                   table, table);
    raw_sql_format(f, "UPDATE %s SET %s = NULL", table, column);
    raw_sql_format(f,
                   "PRAGMA writable_schema=ON;"
                   "UPDATE sqlite_schema SET sql = (SELECT sql FROM kept) WHERE name = '%s';"
                   "DROP TABLE kept",
                   table);
}

/* In another process, so that the test outlives a crash. */
static void test_nulls(void **state)
{
    struct fixture *f = *state;
    static const char *const columns[][2] = {
        {"node", "lookup"},     {"node", "seal"}, {"node", "box"},
        {"node", "generation"}, {"root", "uuid"}, {"root", "seal"},
        {"root", "box"},        {"slot", "box"},  {"slot", "generation"},
    };
    char copy[128];
    unsigned bad = 0;
    snprintf(copy, sizeof copy, "%s/copy", f->folder);
    copy_behind(f->path, copy);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        int status = 0;
        write_null(f, columns[i][0], columns[i][1]);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on with the tests */
            _exit(-try_load(f));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != -STORE_ERR_INTEGRITY) {
            print_error("%s.%s NULL: wait status %#x\n", columns[i][0], columns[i][1], status);
            bad++;
        }
        copy_behind(copy, f->path);
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_rows),          store_test(test_replacing_and_deleting),
        store_test(test_snapshots),     store_test(test_compact),
        store_test(test_settings),      store_test(test_not_a_store),
        store_test(test_other_formats), store_test(test_other_schemas),
        store_test(test_columns),       store_test(test_huge_box),
        store_test(test_nulls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
