/*
 * Rekey: everything says the same afterwards, opens with the new key only, and nothing that the old
 * key could read is left in the file.
 */
#include "changes.h"
#include "helpers.h"
#include "rekey.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRETS 300

/* What the callbacks were told, and what they are to say. */
struct told {
    struct secbuf root_key;
    enum store_err error;
    uint64_t total;
    unsigned calls; /* of progress */
    bool over;
};

static enum store_err note_ready(void *arg, const struct secbuf *root_key)
{
    struct told *told = arg;
    told->root_key = secret_of(root_key->data, root_key->len);
    return told->error;
}

static void note_progress(void *arg, enum store_work work, uint64_t done, uint64_t total)
{
    struct told *told = arg;
    if (work != STORE_WORK_REKEY) /* after a failure it is loaded again */
        return;
    assert_false(told->over);
    told->over = done == total;
    if (!told->over)
        told->total = total;
    told->calls++;
}

static enum store_err rekey_for(struct store *s, const struct store_credential *credential,
                                struct told *told)
{
    const struct store_rekey_slot slot = {1, {.credential = *credential}};
    const struct store_rekey rekey = {
        .slots = &slot, .slot_count = 1, .ready = note_ready, .arg = told};
    store_set_progress(s, note_progress, told);
    enum store_err err = store_rekey(s, &rekey);
    store_set_progress(s, NULL, NULL);
    return err;
}

static void fill(struct store *s)
{
    char path[32];

    make_directory(s, "dir");
    for (int i = 0; i < SECRETS; i++) {
        snprintf(path, sizeof path, "dir/secret-%d", i);
        put_text(s, path, path);
    }
    put_text(s, "dir/secret-1", "a second version");
    put_text(s, "removed", "in the recovery window");
    remove_path(s, "removed");
    set_mode(s, "dir/secret-2", 0640);
}

static void assert_filled(struct store *s)
{
    char path[32];

    for (int i = 2; i < SECRETS; i++) {
        snprintf(path, sizeof path, "dir/secret-%d", i);
        assert_text(s, path, path);
    }
    assert_text(s, "dir/secret-1", "a second version");
    assert_int_equal(resolve(s, "dir/secret-1").previous_number, 1);
    assert_int_equal(resolve(s, "dir/secret-2").mode, 0640);
    assert_ok(store_check(s));
}

static void test_everything_says_the_same(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf key = secret_filled(STORE_KEY_BYTES, 7);
    const struct store_credential credential = {STORE_SLOT_KEYFILE, &key};
    struct store_attr before;
    struct told told = {.root_key = SECBUF_INIT};

    fill(s);
    before = resolve(s, "dir/secret-5");
    uint64_t generation = store_generation(s);
    assert_ok(rekey_for(s, &credential, &told));
    assert_int_equal(store_generation(s), generation + 1);
    assert_int_equal(told.total, SECRETS + 3); /* with the root, the directory, the removed one */
    assert_int_equal(told.calls, 2 + (SECRETS + 2) / 256);
    assert_true(told.over);
    assert_filled(s);
    struct store_attr after = resolve(s, "dir/secret-5");
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.mtime_ns, before.mtime_ns);
    assert_int_equal(after.ctime_ns, before.ctime_ns);
    put_text(s, "dir/later", "goes on with the new keys");
    store_close(s);

    assert_error(try_load(f), STORE_ERR_KEY); /* the slot opens with the other key now */
    assert_ok(store_open(f->path, STORE_READ_WRITE, &s));
    assert_ok(store_unlock_root(s, &told.root_key));
    assert_ok(store_load(s));
    assert_filled(s);
    assert_text(s, "dir/later", "goes on with the new keys");
    assert_ok(store_begin(s));
    assert_ok(store_restore(s, "removed"));
    assert_ok(store_commit(s));
    assert_text(s, "removed", "in the recovery window");
    store_close(s);
    secbuf_release(&told.root_key);
}

/* What a process with caches of an earlier state asks for is not made more by a rekey. */
static void test_it_is_no_change_of_any_secret(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_changes changes = STORE_CHANGES_INIT;
    struct told told = {.root_key = SECBUF_INIT};

    fill(s);
    uint64_t generation = store_generation(s);
    put_text(s, "dir/secret-3", "changed meanwhile");
    assert_ok(rekey_for(s, &f->credential, &told));
    assert_ok(store_changed_since(s, generation, &changes));
    assert_int_equal(changes.count, 1);
    assert_string_equal(changes.items[0].name, "secret-3");
    store_changes_release(&changes);
    store_close(s);
    secbuf_release(&told.root_key);
}

/* Whether any of the store's files has these bytes. */
static bool has_bytes(const struct fixture *f, const unsigned char *bytes, size_t len)
{
    static const char *const ends[] = {"", "-wal"};
    bool found = false;

    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f->path, ends[i]);
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            continue;
        fseek(file, 0, SEEK_END);
        size_t size = (size_t)ftell(file);
        unsigned char *content = malloc(size + 1);
        rewind(file);
        assert_int_equal(fread(content, 1, size, file), size);
        found |= memmem(content, size, bytes, len) != NULL;
        free(content);
        fclose(file);
    }
    return found;
}

struct boxes {
    size_t count;
    unsigned char start[2 * SECRETS][24]; /* of boxes: ciphertext */
};

static int take_box(void *arg, int columns, char **values, char **names)
{
    struct boxes *boxes = arg;
    unsigned byte;

    (void)columns;
    (void)names;
    for (size_t i = 0; i < sizeof boxes->start[0]; i++) {
        assert_int_equal(sscanf(values[0] + 2 * i, "%2x", &byte), 1);
        boxes->start[boxes->count][i] = (unsigned char)byte;
    }
    boxes->count++;
    return 0;
}

static struct boxes take_boxes(const struct fixture *f)
{
    struct boxes boxes = {0};
    sqlite3 *db;

    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "SELECT hex(box) FROM (SELECT box FROM version LIMIT 200) UNION "
                                  "SELECT hex(box) FROM (SELECT box FROM node LIMIT 200) UNION "
                                  "SELECT hex(box) FROM slot",
                                  take_box, &boxes, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    return boxes;
}

static void test_nothing_of_the_old_key_is_left(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct told told = {.root_key = SECBUF_INIT};

    fill(s);
    assert_ok(store_compact(s, -1));
    struct boxes before = take_boxes(f);
    assert_int_equal(before.count, 401);
    for (size_t i = 0; i < before.count; i++)
        assert_true(has_bytes(f, before.start[i], sizeof before.start[i]));
    assert_ok(rekey_for(s, &f->credential, &told));
    assert_ok(store_compact(s, -1));
    for (size_t i = 0; i < before.count; i++)
        assert_false(has_bytes(f, before.start[i], sizeof before.start[i]));
    store_close(s);
    secbuf_release(&told.root_key);
}

/* Refused at the last moment, or out of the way of another transaction. */
static void test_what_fails_changes_nothing(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct told told = {.root_key = SECBUF_INIT, .error = STORE_ERR_BUSY};
    const struct store_rekey none = {.slot_count = 0};
    SECBUF_AUTO struct secbuf short_key = secret_filled(5, 1);
    const struct store_credential bad = {STORE_SLOT_KEYFILE, &short_key};

    fill(s);
    uint64_t generation = store_generation(s);
    assert_error(rekey_for(s, &f->credential, &told), STORE_ERR_BUSY);
    secbuf_release(&told.root_key);
    assert_error(store_rekey(s, &none), STORE_ERR_INVALID);
    told.over = false;
    assert_error(rekey_for(s, &bad, &told), STORE_ERR_INVALID);
    assert_ok(store_begin(s));
    told.over = false;
    assert_error(rekey_for(s, &f->credential, &told), STORE_ERR_INVALID);
    store_rollback(s);
    assert_int_equal(store_generation(s), generation);
    put_text(s, "dir/later", "goes on with the old keys");
    assert_filled(s);
    store_close(s);
    s = open_store(f, STORE_READ_WRITE);
    assert_filled(s);
    assert_text(s, "dir/later", "goes on with the old keys");
    store_close(s);
}

/* A reader with the old keys keeps what it has verified. */
#define BROKEN "its seal is broken"
#define REKEYED BROKEN ", or the store was rekeyed meanwhile: start again with the new key"

/* The slots are as they were, so there was no rekey; a worker's key may be older than the slots. */
static void test_damage_is_no_rekey(void **state)
{
    const struct fixture *f = *state;
    struct store *loaded = open_store(f, STORE_FOLLOW);
    struct store *follower = open_unlocked(f, STORE_FOLLOW);

    raw_sql(f, "UPDATE root SET box = zeroblob(length(box))");
    assert_error(store_refresh(loaded, NULL), STORE_ERR_INTEGRITY);
    assert_string_equal(store_fault()->reason, BROKEN);
    assert_error(try_load(f), STORE_ERR_INTEGRITY);
    assert_string_equal(store_fault()->reason, BROKEN);
    assert_error(store_load(follower), STORE_ERR_INTEGRITY);
    assert_string_equal(store_fault()->reason, REKEYED);
    store_close(follower);
    store_close(loaded);
}

static void test_a_follower_with_the_old_key_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct told told = {.root_key = SECBUF_INIT};

    fill(s);
    struct store *reader = open_store(f, STORE_READ_ONLY);
    struct store *unlocked = open_unlocked(f, STORE_READ_ONLY);
    assert_ok(rekey_for(s, &f->credential, &told));
    assert_error(store_refresh(reader, NULL), STORE_ERR_INTEGRITY);
    assert_string_equal(store_fault()->reason, REKEYED);
    assert_int_equal(resolve(reader, "dir/secret-1").number, 2);
    assert_error(store_load(unlocked), STORE_ERR_INTEGRITY);
    assert_string_equal(store_fault()->reason, REKEYED);
    store_close(unlocked);
    store_close(reader);
    store_close(s);
    secbuf_release(&told.root_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_everything_says_the_same),
        store_test(test_it_is_no_change_of_any_secret),
        store_test(test_nothing_of_the_old_key_is_left),
        store_test(test_what_fails_changes_nothing),
        store_test(test_damage_is_no_rekey),
        store_test(test_a_follower_with_the_old_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
