/*
 * What somebody may do who can write the file and has no key: rows deleted, exchanged, doubled and
 * put back as they were are found when loading, and a live follower keeps the last state that it
 * has verified. (tests/fault goes through every byte.)
 */
#include "changes.h"
#include "helpers.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* What the tests change: ids of nodes and versions, and copies of the file from before. */
struct scene {
    struct fixture *f;
    char pristine[128]; /* the state that the store has */
    char older[128];    /* one commit back: the secret's former value, mode 0644 */
    struct store_attr one;
    struct store_attr two;
    struct store_attr old; /* of `one`, in `older` */
};

/* The log folded in, so that the file alone is the store. */
static void snapshot(const struct fixture *f, char copy[128], const char *name)
{
    snprintf(copy, 128, "%s/%s", f->folder, name);
    raw_sql(f, "PRAGMA wal_checkpoint(TRUNCATE)");
    copy_behind(f->path, copy);
}

static struct scene make_scene(struct fixture *f)
{
    struct scene c = {.f = f};
    struct store *s = open_store(f, STORE_READ_WRITE);
    make_directory(s, "dir");
    put_text(s, "dir/one", "old value");
    put_text(s, "two", "second");
    set_mode(s, "dir/one", 0644);
    c.old = resolve(s, "dir/one");
    snapshot(f, c.older, "older");
    assert_ok(store_begin(s));
    assert_ok(store_set_policy(s, "dir/one", &(struct policy){.mode = 0400}));
    SECBUF_AUTO struct secbuf value = secret_of("new value", 9);
    uint32_t number;
    assert_ok(store_put(s, "dir/one", &value, false, &number));
    assert_ok(store_commit(s));
    c.one = resolve(s, "dir/one");
    c.two = resolve(s, "two");
    store_close(s);
    snapshot(f, c.pristine, "pristine");
    assert_ok(try_load(f));
    return c;
}

#define ID(x) ((unsigned long long)(x))

/* Run SQL with %N and %M for two nodes, %V and %W for their versions, %O for the older file. */
static void tamper(const struct scene *c, const char *sql)
{
    char text[1024];
    char *at = text;
    char *end = text + sizeof text;
    for (; *sql; sql++) {
        if (*sql != '%') {
            *at++ = *sql;
            continue;
        }
        sql++;
        if (*sql == 'O')
            at += snprintf(at, (size_t)(end - at), "%s", c->older);
        else
            at += snprintf(at, (size_t)(end - at), "%llu",
                           ID(*sql == 'N'   ? c->one.node
                              : *sql == 'M' ? c->two.node
                              : *sql == 'V' ? c->one.version
                              : *sql == 'U' ? c->old.version
                                            : c->two.version));
        assert_true(at < end);
    }
    *at = '\0';
    raw_sql(c->f, text);
}

static const char *const changes[] = {
    /* Deleted */
    "DELETE FROM node WHERE id = %N",
    "DELETE FROM node WHERE id = 17",
    "DELETE FROM node WHERE id = 16",
    "DELETE FROM node",
    "DELETE FROM version WHERE id = %V",
    "DELETE FROM version WHERE id = %U",
    "DELETE FROM version",
    "DELETE FROM node WHERE id = %M; DELETE FROM version WHERE id = %W",
    "DELETE FROM root",
    /* Exchanged: boxes alone, with their seals, and whole rows */
    "CREATE TEMP TABLE t AS SELECT id, box FROM node WHERE id IN (%N, %M);"
    "UPDATE node SET box = (SELECT box FROM t WHERE t.id = %N + %M - node.id) WHERE id IN (%N, %M)",
    "CREATE TEMP TABLE t AS SELECT id, seal, box FROM node WHERE id IN (%N, %M);"
    "UPDATE node SET (seal, box) = (SELECT seal, box FROM t WHERE t.id = %N + %M - node.id)"
    " WHERE id IN (%N, %M)",
    "UPDATE node SET id = 9999 WHERE id = %N; UPDATE node SET id = %N WHERE id = %M;"
    "UPDATE node SET id = %M WHERE id = 9999",
    "CREATE TEMP TABLE t AS SELECT id, seal, box FROM version WHERE id IN (%V, %W);"
    "UPDATE version SET (seal, box) = (SELECT seal, box FROM t WHERE t.id = %V + %W - version.id)"
    " WHERE id IN (%V, %W)",
    "UPDATE version SET seal = (SELECT seal FROM version WHERE id = %U) WHERE id = %V",
    "UPDATE version SET id = 9999 WHERE id = %V; UPDATE version SET id = %V WHERE id = %U;"
    "UPDATE version SET id = %U WHERE id = 9999",
    "UPDATE node SET lookup = randomblob(32) WHERE id = %N",
    "UPDATE node SET lookup = (SELECT zeroblob(32)) WHERE id = %M",
    /* Doubled */
    "INSERT INTO node SELECT 9999, generation, randomblob(32), seal, box FROM node WHERE id = %N",
    "INSERT INTO version SELECT 9999, generation, seal, box FROM version WHERE id = %V",
    "INSERT INTO slot SELECT 2, generation, box FROM slot",
    /* Another generation, which is what a follower goes by */
    "UPDATE node SET generation = generation + 1 WHERE id = %N",
    "UPDATE node SET generation = generation - 1 WHERE id = %N",
    "UPDATE version SET generation = generation + 1 WHERE id = %V",
    "UPDATE slot SET generation = generation + 1",
    /* Other numbers */
    "UPDATE slot SET id = 3",
    "UPDATE root SET uuid = randomblob(16)",
    "UPDATE root SET seal = randomblob(40)",
    "UPDATE root SET box = randomblob(256)",
    "UPDATE node SET box = randomblob(256) WHERE id = %N",
    "UPDATE version SET seal = randomblob(40) WHERE id = %V",
    /* As it was before */
    "ATTACH '%O' AS o; REPLACE INTO node SELECT * FROM o.node WHERE id = %N",
    "ATTACH '%O' AS o; REPLACE INTO root SELECT * FROM o.root",
    "ATTACH '%O' AS o; REPLACE INTO root SELECT * FROM o.root;"
    "REPLACE INTO node SELECT * FROM o.node",
    "ATTACH '%O' AS o; REPLACE INTO node SELECT * FROM o.node; DELETE FROM version"
    " WHERE id NOT IN (SELECT id FROM o.version)",
};

/* Whatever was changed, where it can be unlocked at all, there is something to say of it. */
static enum store_err diagnose(const struct fixture *f)
{
    static struct store_finding finding;
    struct store *s = NULL;
    enum store_err err = store_open(f->path, STORE_READ_ONLY, &s);
    if (!err)
        err = store_unlock(s, &f->credential);
    if (!err) {
        err = store_diagnose(s, &finding);
        assert_true(err != STORE_ERR_INTEGRITY || (finding.record[0] && finding.wrong[0]));
    }
    store_close(s);
    return err;
}

static void test_loading(void **state)
{
    struct scene c = make_scene(*state);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        tamper(&c, changes[i]);
        enum store_err err = try_load(c.f);
        if (err != STORE_ERR_INTEGRITY)
            print_error("after %s:\n", changes[i]);
        assert_error(err, STORE_ERR_INTEGRITY);
        assert_true(store_fault()->reason[0] != '\0');
        assert_error(diagnose(c.f), STORE_ERR_INTEGRITY);
        copy_behind(c.pristine, c.f->path);
        assert_ok(try_load(c.f));
        assert_error(diagnose(c.f), STORE_ERR_NO_VERSION);
    }
}

/* A box is read when it is asked for: the load is good, the value is refused. */
static void test_boxes_of_values(void **state)
{
    struct scene c = make_scene(*state);
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    static const char *const boxes[] = {
        "UPDATE version SET box = randomblob(256) WHERE id = %V",
        "UPDATE version SET box = (SELECT box FROM version WHERE id = %U) WHERE id = %V",
        "UPDATE version SET box = zeroblob(257) WHERE id = %V",
        "UPDATE version SET box = zeroblob(1300000) WHERE id = %V",
    };
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        tamper(&c, boxes[i]);
        struct store *s = open_store(c.f, STORE_READ_ONLY);
        assert_error(store_read(s, c.one.version, &value), STORE_ERR_INTEGRITY);
        assert_int_equal(value.len, 0);
        assert_ok(store_read(s, c.two.version, &value));
        assert_error(store_check(s), STORE_ERR_INTEGRITY);
        store_close(s);
        copy_behind(c.pristine, c.f->path);
    }
}

static void test_second_root_row(void **state)
{
    struct scene c = make_scene(*state);
    tamper(&c, "INSERT INTO root SELECT 2, uuid, seal, box FROM root");
    assert_error(try_load(c.f), STORE_ERR_INTEGRITY);
}

static void flip_slot_byte(const struct fixture *f, int at)
{
    sqlite3 *db = NULL;
    sqlite3_blob *blob = NULL;
    unsigned char byte;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_blob_open(db, "main", "slot", "box", 1, 1, &blob), SQLITE_OK);
    assert_int_equal(sqlite3_blob_read(blob, &byte, 1, at), SQLITE_OK);
    byte ^= 4;
    assert_int_equal(sqlite3_blob_write(blob, &byte, 1, at), SQLITE_OK);
    assert_int_equal(sqlite3_blob_close(blob), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_slots(void **state)
{
    struct scene c = make_scene(*state);
    static const struct {
        unsigned byte;
        enum store_err expected;
    } bytes[] = {
        {1, STORE_ERR_INTEGRITY},   /* a field's length */
        {5, STORE_ERR_INTEGRITY},   /* the kind */
        {11, STORE_ERR_KEY},        /* the salt */
        {32, STORE_ERR_INTEGRITY},  /* the cost of a key file */
        {55, STORE_ERR_INTEGRITY},  /* the nonce */
        {90, STORE_ERR_KEY},        /* the commitment */
        {130, STORE_ERR_INTEGRITY}, /* the wrapped key */
    };
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        flip_slot_byte(c.f, (int)bytes[i].byte);
        enum store_err err = try_load(c.f);
        if (err != bytes[i].expected)
            print_error("byte %u:\n", bytes[i].byte);
        assert_error(err, bytes[i].expected);
        flip_slot_byte(c.f, (int)bytes[i].byte);
        assert_ok(try_load(c.f));
    }
    tamper(&c, "DELETE FROM slot");
    assert_error(try_load(c.f), STORE_ERR_KEY);
}

/* ---- Live
 * ------------------------------------------------------------------------------------------ */

/* What the follower must go on saying, whatever is done to the file. */
static void assert_unimpressed(const struct scene *c, struct store *s)
{
    struct store_attr attr;
    assert_ok(store_resolve(s, "dir/one", &attr));
    assert_int_equal(attr.version, c->one.version);
    assert_int_equal(attr.mode, 0400);
    assert_ok(store_resolve(s, "two", &attr));
    assert_int_equal(attr.version, c->two.version);
    assert_error(store_resolve(s, "three", &attr), STORE_ERR_NOT_FOUND);
}

/* A value is the right one, or refused. */
static void assert_no_wrong_value(const struct scene *c, struct store *s)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    enum store_err err = store_read(s, c->one.version, &value);
    if (err)
        assert_error(err, STORE_ERR_INTEGRITY);
    else
        assert_memory_equal(value.data, "new value", value.len);
    assert_int_equal(value.len, err ? 0 : 9);
}

static void test_live_rows(void **state)
{
    struct scene c = make_scene(*state);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct store *s = open_store(c.f, STORE_READ_ONLY);
        tamper(&c, changes[i]);
        enum store_err err = store_refresh(s, NULL);
        if (err) /* or the generation is the same, and nothing is looked at */
            assert_error(err, STORE_ERR_INTEGRITY);
        assert_unimpressed(&c, s);
        assert_no_wrong_value(&c, s);
        store_close(s);
        copy_behind(c.pristine, c.f->path);
    }
}

/* The old state of every table put back, with SQL and so that SQLite itself is content. */
static const char replay[] = "ATTACH '%O' AS o;"
                             "DELETE FROM node; INSERT INTO node SELECT * FROM o.node;"
                             "DELETE FROM version; INSERT INTO version SELECT * FROM o.version;"
                             "DELETE FROM slot; INSERT INTO slot SELECT * FROM o.slot;"
                             "DELETE FROM root; INSERT INTO root SELECT * FROM o.root";

static void test_live_older_state(void **state)
{
    struct scene c = make_scene(*state);
    struct store *s = open_store(c.f, STORE_READ_WRITE);

    tamper(&c, replay);
    assert_ok(try_load(c.f)); /* nothing in the file itself tells; that is the anchor's part */
    for (int i = 0; i < 2; i++) {
        assert_error(store_refresh(s, NULL), STORE_ERR_INTEGRITY);
        assert_error(store_begin(s), STORE_ERR_INTEGRITY);
        assert_unimpressed(&c, s);
        assert_no_wrong_value(&c, s);
    }
    /* The true state is back: all is well. */
    char older[128];
    strcpy(older, c.older);
    strcpy(c.older, c.pristine);
    tamper(&c, replay);
    strcpy(c.older, older);
    assert_ok(store_refresh(s, NULL));
    put_text(s, "three", "3");
    store_close(s);
    assert_ok(try_load(c.f));
}

/* The file itself exchanged, below SQLite. */
static void test_live_older_file(void **state)
{
    struct scene c = make_scene(*state);
    struct store *s = open_store(c.f, STORE_READ_ONLY);

    copy_behind(c.older, c.f->path);
    enum store_err err = store_refresh(s, NULL);
    if (err)
        assert_error(err, STORE_ERR_INTEGRITY);
    assert_unimpressed(&c, s);
    assert_no_wrong_value(&c, s);
    store_close(s);
}

/* Two histories that went apart, as two copies of a backup may; same and higher generations. */
static void test_live_other_history(void **state)
{
    struct scene c = make_scene(*state);
    for (int more = 0; more < 3; more++) {
        struct store *s = open_store(c.f, STORE_READ_WRITE);
        for (int i = 0; i <= more; i++)
            put_text(s, "three", i % 2 ? "a" : "b");
        store_close(s);
        snapshot(c.f, c.older, "other");
        copy_behind(c.pristine, c.f->path);

        s = open_store(c.f, STORE_READ_WRITE);
        put_text(s, "two", "changed here");
        c.two = resolve(s, "two");
        tamper(&c, replay);
        assert_error(store_refresh(s, NULL), STORE_ERR_INTEGRITY);
        assert_unimpressed(&c, s);
        assert_text(s, "dir/one", "new value");
        store_close(s);
        copy_behind(c.pristine, c.f->path);
    }
}

/* A node's former row put back between load and change must not be written into the next
 * generation: with it would come the former mode and value. */
static void test_nothing_old_is_laundered(void **state)
{
    struct scene c = make_scene(*state);
    static const char row[] = "ATTACH '%O' AS o; REPLACE INTO node SELECT * FROM o.node"
                              " WHERE id = %N";
    struct store_details d;
    struct store *s = open_store(c.f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("x", 1);
    uint32_t number;

    tamper(&c, row);
    assert_error(store_details(s, c.one.node, &d), STORE_ERR_INTEGRITY);
    enum store_err err = store_begin(s);
    if (!err) {
        assert_error(store_set_description(s, "dir/one", "x"), STORE_ERR_INTEGRITY);
        assert_error(store_set_policy(s, "dir/one", &(struct policy){.mode = 0600}),
                     STORE_ERR_INTEGRITY);
        assert_error(store_put(s, "dir/one", &value, true, &number), STORE_ERR_INTEGRITY);
        assert_error(store_set_current(s, "dir/one", 1), STORE_ERR_INTEGRITY);
        assert_error(store_move(s, "dir/one", "one"), STORE_ERR_INTEGRITY);
        assert_error(store_remove(s, "dir/one", STORE_RECOVERY_S), STORE_ERR_INTEGRITY);
        assert_ok(store_mkdir(s, "other")); /* elsewhere work goes on */
        assert_ok(store_commit(s));
    }
    assert_unimpressed(&c, s);
    store_close(s);
    assert_error(try_load(c.f), STORE_ERR_INTEGRITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_loading),
        store_test(test_boxes_of_values),
        store_test(test_second_root_row),
        store_test(test_slots),
        store_test(test_live_rows),
        store_test(test_live_older_state),
        store_test(test_live_older_file),
        store_test(test_live_other_history),
        store_test(test_nothing_old_is_laundered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
