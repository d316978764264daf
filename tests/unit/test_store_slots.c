/*
 * Key slots of a whole store: told, added and taken away, under the root record and seen by others.
 */
#include "changes.h"
#include "helpers.h"
#include "recipient.h"
#include "slots.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A store that is open for writing, with its root key and another key file's. */
struct scene {
    struct fixture *f;
    struct store *store;
    struct secbuf root_key;
    struct secbuf second;
};

static struct scene make_scene(struct fixture *f)
{
    struct scene c = {.f = f, .store = open_store(f, STORE_READ_WRITE)};
    put_text(c.store, "a", "value");
    assert_ok(store_root_key(c.store, &f->credential, &c.root_key, NULL));
    c.second = secret_filled(STORE_KEY_BYTES, 77);
    return c;
}

static void release(struct scene *c)
{
    store_close(c->store);
    secbuf_release(&c->root_key);
    secbuf_release(&c->second);
}

static struct store_new_slot slot_for(struct store_credential credential)
{
    return (struct store_new_slot){.credential = credential};
}

static struct store_credential second(const struct scene *c)
{
    return (struct store_credential){STORE_SLOT_KEYFILE, &c->second};
}

static uint64_t add(const struct scene *c)
{
    const struct store_new_slot slot = slot_for(second(c));
    uint64_t id = 0;
    assert_ok(store_begin(c->store));
    assert_ok(store_add_slot(c->store, &c->root_key, &slot, &id));
    assert_ok(store_commit(c->store));
    return id;
}

static void assert_ids(struct store *store, const char *expected)
{
    struct store_slot slots[STORE_SLOTS_MAX];
    size_t count;
    char text[128] = "";

    store_list_slots(store, slots, &count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(slots[i].kind, STORE_SLOT_KEYFILE);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", i == 0 ? "" : " ",
                 (unsigned)slots[i].id);
    }
    assert_string_equal(text, expected);
}

/* What opening the file with `credential` comes to. */
static enum store_err try_key(const struct scene *c, struct store_credential credential)
{
    struct store *s = NULL;
    assert_ok(store_open(c->f->path, STORE_READ_ONLY, &s));
    enum store_err err = store_unlock(s, &credential);
    if (!err)
        err = store_load(s);
    if (!err)
        assert_text(s, "a", "value");
    store_close(s);
    return err;
}

static void test_each_slot_opens_the_store(void **state)
{
    struct scene c = make_scene(*state);
    assert_ids(c.store, "1");
    assert_error(try_key(&c, second(&c)), STORE_ERR_KEY);
    assert_int_equal(add(&c), 2);
    assert_ids(c.store, "1 2");
    assert_ok(try_key(&c, second(&c)));
    assert_ok(try_key(&c, c.f->credential));

    assert_ok(store_begin(c.store));
    assert_ok(store_remove_slot(c.store, 1));
    assert_ok(store_commit(c.store));
    assert_ids(c.store, "2");
    assert_error(try_key(&c, c.f->credential), STORE_ERR_KEY);
    assert_ok(try_key(&c, second(&c)));
    assert_text(c.store, "a", "value");
    assert_ok(store_check(c.store));
    release(&c);
}

static void test_refusals(void **state)
{
    struct scene c = make_scene(*state);
    const struct store_new_slot slot = slot_for(second(&c));
    const struct store_new_slot bad = {
        .credential = {STORE_SLOT_PASSPHRASE, &(struct secbuf)SECBUF_INIT}};
    uint64_t id = 99;

    assert_error(store_add_slot(c.store, &c.root_key, &slot, &id), STORE_ERR_INVALID);
    assert_error(store_remove_slot(c.store, 1), STORE_ERR_INVALID);
    assert_ok(store_begin(c.store));
    assert_error(store_remove_slot(c.store, 1), STORE_ERR_INVALID); /* the last one */
    assert_error(store_remove_slot(c.store, 2), STORE_ERR_NOT_FOUND);
    assert_error(store_remove_slot(c.store, 0), STORE_ERR_NOT_FOUND);
    assert_error(store_add_slot(c.store, &c.second, &slot, &id), STORE_ERR_INVALID);
    assert_error(store_add_slot(c.store, &c.root_key, &bad, &id), STORE_ERR_INVALID);
    assert_int_equal(id, 99);
    assert_ok(store_commit(c.store)); /* refusals break nothing */
    assert_ids(c.store, "1");
    release(&c);
}

static void test_as_many_as_fit(void **state)
{
    struct scene c = make_scene(*state);
    const struct store_new_slot slot = slot_for(second(&c));
    uint64_t id;

    assert_ok(store_begin(c.store));
    for (unsigned i = 2; i <= STORE_SLOTS_MAX; i++) {
        assert_ok(store_add_slot(c.store, &c.root_key, &slot, &id));
        assert_int_equal(id, i);
    }
    assert_error(store_add_slot(c.store, &c.root_key, &slot, &id), STORE_ERR_LIMIT);
    assert_ok(store_remove_slot(c.store, 3));
    assert_ok(store_add_slot(c.store, &c.root_key, &slot, &id));
    assert_int_equal(id, STORE_SLOTS_MAX + 1);
    assert_ok(store_commit(c.store));
    assert_ids(c.store, "1 2 4 5 6 7 8 9 10 11 12 13 14 15 16 17");
    assert_ok(try_key(&c, second(&c)));
    release(&c);
}

static void test_a_rollback_changes_nothing(void **state)
{
    struct scene c = make_scene(*state);
    const struct store_new_slot slot = slot_for(second(&c));
    uint64_t id;

    assert_ok(store_begin(c.store));
    assert_ok(store_add_slot(c.store, &c.root_key, &slot, &id));
    assert_ok(store_remove_slot(c.store, 1));
    assert_ids(c.store, "2");
    store_rollback(c.store);
    assert_error(try_key(&c, second(&c)), STORE_ERR_KEY);
    assert_ok(try_key(&c, c.f->credential));
    assert_int_equal(add(&c), 2); /* begins with what the file says */
    assert_ids(c.store, "1 2");
    release(&c);
}

static void test_others_follow(void **state)
{
    struct scene c = make_scene(*state);
    struct store *other = open_store(c.f, STORE_READ_ONLY);

    add(&c);
    assert_ok(store_refresh(other, NULL));
    assert_ids(other, "1 2");
    assert_ok(store_begin(c.store));
    assert_ok(store_remove_slot(c.store, 2));
    assert_ok(store_commit(c.store));
    assert_ok(store_refresh(other, NULL));
    assert_ids(other, "1");
    assert_text(other, "a", "value");
    store_close(other);
    release(&c);
}

static void test_other_kinds(void **state)
{
    struct scene c = make_scene(*state);
    SECBUF_AUTO struct secbuf identity = SECBUF_INIT;
    struct store_credential credentials[] = {{STORE_SLOT_RECIPIENT, &identity},
                                             {STORE_SLOT_COMMAND, &c.second}};
    unsigned char key[RECIPIENT_KEY_BYTES];
    struct store_slot slots[STORE_SLOTS_MAX];
    size_t count;
    uint64_t id;

    assert_ok(recipient_new_identity(&identity));
    assert_ok(recipient_of(&identity, key));
    const struct store_new_slot recipient = {.credential.kind = STORE_SLOT_RECIPIENT,
                                             .recipient = key};
    const struct store_new_slot command = {.credential = credentials[1], .command = "/bin/key"};
    assert_ok(store_begin(c.store));
    assert_ok(store_add_slot(c.store, &c.root_key, &recipient, &id));
    assert_ok(store_add_slot(c.store, &c.root_key, &command, &id));
    assert_ok(store_commit(c.store));
    store_list_slots(c.store, slots, &count);
    assert_int_equal(count, 3);
    assert_int_equal(slots[1].kind, STORE_SLOT_RECIPIENT);
    assert_memory_equal(slots[1].recipient, key, sizeof key);
    assert_string_equal(slots[1].command, "");
    assert_int_equal(slots[2].kind, STORE_SLOT_COMMAND);
    assert_string_equal(slots[2].command, "/bin/key");
    assert_ok(try_key(&c, credentials[0]));
    assert_ok(try_key(&c, credentials[1]));
    /* The same 32 bytes are no key file. */
    assert_error(try_key(&c, second(&c)), STORE_ERR_KEY);
    release(&c);
}

static void test_a_store_for_a_recipient(void **state)
{
    struct fixture *f = *state;
    SECBUF_AUTO struct secbuf identity = SECBUF_INIT;
    unsigned char key[RECIPIENT_KEY_BYTES];
    struct store *s = NULL;

    assert_ok(recipient_new_identity(&identity));
    assert_ok(recipient_of(&identity, key));
    const struct store_new_slot slot = {.credential.kind = STORE_SLOT_RECIPIENT, .recipient = key};
    assert_int_equal(unlink(f->path), 0);
    assert_ok(store_create_for(f->path, &slot));
    assert_ok(store_open(f->path, STORE_READ_ONLY, &s));
    assert_error(store_unlock(s, &f->credential), STORE_ERR_KEY);
    assert_ok(store_unlock(s, &(struct store_credential){STORE_SLOT_RECIPIENT, &identity}));
    assert_ok(store_load(s));
    store_close(s);
}

/* Who has no key can neither take a slot away nor bring one back. */
static void test_slots_are_under_the_root_record(void **state)
{
    struct scene c = make_scene(*state);

    char older[128];

    add(&c);
    store_close(c.store);
    snprintf(older, sizeof older, "%s/older.db", c.f->folder);
    copy_behind(c.f->path, older);
    raw_sql(c.f, "DELETE FROM slot WHERE id = 2");
    assert_error(try_load(c.f), STORE_ERR_INTEGRITY);
    copy_behind(older, c.f->path);
    c.store = open_store(c.f, STORE_READ_WRITE);
    assert_ok(store_begin(c.store));
    assert_ok(store_remove_slot(c.store, 2));
    assert_ok(store_commit(c.store));
    raw_sql_format(c.f,
                   "ATTACH '%s' AS o;"
                   "INSERT INTO main.slot SELECT * FROM o.slot WHERE id = 2",
                   older);
    assert_error(try_key(&c, second(&c)), STORE_ERR_INTEGRITY);
    assert_error(try_load(c.f), STORE_ERR_INTEGRITY);
    release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_each_slot_opens_the_store),
        store_test(test_refusals),
        store_test(test_as_many_as_fit),
        store_test(test_a_rollback_changes_nothing),
        store_test(test_others_follow),
        store_test(test_other_kinds),
        store_test(test_a_store_for_a_recipient),
        store_test(test_slots_are_under_the_root_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
