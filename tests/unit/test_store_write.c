/*
 * Transactions: several changes make one generation, dropped ones leave nothing, and a misuse of
 * begin and commit harms nobody's store. Two writers, one after the other and at once.
 */
#include "changes.h"
#include "helpers.h"

#include <string.h>

static uint64_t generation_of(struct store *s)
{
    struct store_stats stats;
    store_stats(s, &stats);
    return stats.generation;
}

static void test_one_generation_each(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);
    uint32_t number;

    assert_ok(store_begin(s));
    assert_ok(store_mkdir(s, "a"));
    assert_ok(store_put(s, "a/secret", &value, false, &number));
    assert_text(s, "a/secret", "value"); /* visible inside */
    assert_ok(store_set_description(s, "a/secret", "text"));
    assert_ok(store_move(s, "a/secret", "b"));
    assert_ok(store_remove(s, "a", STORE_RECOVERY_S));
    assert_ok(store_mkdir(s, "a"));
    assert_int_equal(generation_of(s), 1);
    assert_ok(store_commit(s));
    assert_int_equal(generation_of(s), 2);
    store_close(s);
    s = open_store(f, STORE_READ_ONLY);
    assert_int_equal(generation_of(s), 2);
    assert_text(s, "b", "value");
    store_close(s);
}

static void test_nothing_changed(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    uint32_t number;
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);

    put_text(s, "secret", "value");
    assert_ok(store_begin(s));
    assert_ok(store_commit(s));
    assert_ok(store_begin(s));
    assert_ok(store_put(s, "secret", &value, false, &number));
    assert_ok(store_set_current(s, "secret", 1));
    assert_ok(store_set_policy(s, "secret", &(struct policy){.mode = 0400}));
    assert_ok(store_set_description(s, "secret", ""));
    assert_ok(store_commit(s));
    assert_int_equal(generation_of(s), 2);
    assert_ok(store_begin(s)); /* dropped without a change: the index stays good */
    store_rollback(s);
    assert_text(s, "secret", "value");
    store_close(s);
}

static void test_dropped(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_attr attr;
    SECBUF_AUTO struct secbuf value = secret_of("two", 3);
    uint32_t number;

    put_text(s, "secret", "one");
    make_directory(s, "dir");
    for (int how = 0; how < 3; how++) {
        assert_ok(store_begin(s));
        assert_ok(store_put(s, "secret", &value, false, &number));
        assert_ok(store_put(s, "new", &value, false, &number));
        assert_ok(store_remove(s, "dir", STORE_RECOVERY_S));
        assert_ok(store_purge(s, "dir"));
        if (how == 2) { /* closed in the middle */
            store_close(s);
            s = open_store(f, STORE_READ_WRITE);
        } else {
            store_rollback(s);
            store_rollback(s);
            assert_error(store_resolve(s, "secret", &attr), STORE_ERR_BUSY); /* until loaded */
        }
        if (how == 0) {
            assert_ok(store_load(s));
        } else if (how == 1) {
            assert_ok(store_begin(s)); /* which loads, too */
            store_rollback(s);
        }
        assert_text(s, "secret", "one");
        assert_int_equal(resolve(s, "dir").kind, STORE_DIRECTORY);
        assert_error(store_resolve(s, "new", &attr), STORE_ERR_NOT_FOUND);
        assert_int_equal(generation_of(s), 3);
        assert_ok(try_load(f));
    }
    assert_int_equal(put_text(s, "secret", "two"), 2);
    store_close(s);
}

static void test_a_refusal_in_the_middle(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);
    SECBUF_AUTO struct secbuf large = secret_filled(STORE_VALUE_MAX + 1, 1);
    uint32_t number;

    /* Refused ones change nothing; the rest of the transaction may be committed. */
    assert_ok(store_begin(s));
    assert_ok(store_mkdir(s, "a"));
    assert_error(store_mkdir(s, "a"), STORE_ERR_EXISTS);
    assert_error(store_put(s, "a", &value, false, &number), STORE_ERR_IS_DIRECTORY);
    assert_error(store_put(s, "large", &large, false, &number), STORE_ERR_LIMIT);
    assert_error(store_move(s, "a", "a/b"), STORE_ERR_INVALID);
    assert_error(store_remove(s, "b", STORE_RECOVERY_S), STORE_ERR_NOT_FOUND);
    assert_error(store_restore(s, "b"), STORE_ERR_NOT_FOUND);
    assert_error(store_purge(s, "a"), STORE_ERR_EXISTS);
    assert_ok(store_put(s, "a/secret", &value, false, &number));
    assert_ok(store_commit(s));
    store_close(s);
    s = open_store(f, STORE_READ_ONLY);
    assert_text(s, "a/secret", "value");
    store_close(s);
}

static void test_outside(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = secret_of("value", 5);
    uint32_t number;

    for (int i = 0; i < 2; i++) {
        assert_error(store_mkdir(s, "a"), STORE_ERR_INVALID);
        assert_error(store_put(s, "b", &value, false, &number), STORE_ERR_INVALID);
        assert_error(store_set_current(s, "secret", 1), STORE_ERR_INVALID);
        assert_error(store_set_policy(s, "/", &(struct policy){.mode = 0700}), STORE_ERR_INVALID);
        assert_error(store_set_description(s, "/", "text"), STORE_ERR_INVALID);
        assert_error(store_move(s, "secret", "c"), STORE_ERR_INVALID);
        assert_error(store_remove(s, "secret", STORE_RECOVERY_S), STORE_ERR_INVALID);
        assert_error(store_restore(s, "secret"), STORE_ERR_INVALID);
        assert_error(store_purge(s, "secret"), STORE_ERR_INVALID);
        put_text(s, "secret", "value"); /* the same after a transaction */
    }
    store_close(s);
}

/* A second commit must not write again what others have changed since. */
static void test_committing_twice(void **state)
{
    struct fixture *f = *state;
    struct store *a = open_store(f, STORE_READ_WRITE);
    struct store *b = open_store(f, STORE_READ_WRITE);

    put_text(a, "secret", "one");
    put_text(b, "secret", "two");
    enum store_err err = store_commit(a); /* outside a transaction */
    if (err)
        assert_error(err, STORE_ERR_INVALID);
    assert_ok(try_load(f));
    assert_ok(store_refresh(a, NULL));
    assert_text(a, "secret", "two");
    store_close(a);
    store_close(b);
}

static void test_beginning_twice(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);

    assert_ok(store_begin(s));
    assert_ok(store_mkdir(s, "a"));
    assert_error(store_begin(s), STORE_ERR_INVALID);
    store_rollback(s);
    assert_ok(store_load(s));
    assert_error(store_resolve(s, "a", &(struct store_attr){0}), STORE_ERR_NOT_FOUND);
    make_directory(s, "b");
    store_close(s);
    assert_ok(try_load(f));
}

/* Each sees at its begin what the other has committed. */
static void test_two_writers(void **state)
{
    struct fixture *f = *state;
    struct store *a = open_store(f, STORE_READ_WRITE);
    struct store *b = open_store(f, STORE_READ_WRITE);

    assert_int_equal(put_text(a, "secret", "one"), 1);
    assert_int_equal(put_text(b, "secret", "two"), 2);
    assert_int_equal(put_text(a, "secret", "three"), 3);
    remove_path(b, "secret");
    assert_int_equal(put_text(a, "secret", "anew"), 1);
    assert_ok(store_begin(b));
    assert_text(b, "secret", "anew");
    assert_int_equal(generation_of(b), 6);
    store_rollback(b);
    store_close(a);
    store_close(b);
    assert_ok(try_load(f));
}

static void test_two_writers_at_once(void **state)
{
    struct fixture *f = *state;
    struct store *a = open_store(f, STORE_READ_WRITE);
    struct store *b = open_store(f, STORE_READ_WRITE);
    struct store *reader = open_store(f, STORE_READ_ONLY);

    assert_ok(store_begin(a));
    assert_ok(store_mkdir(a, "a"));
    assert_error(store_begin(b), STORE_ERR_BUSY); /* after 5 s */
    assert_ok(store_refresh(reader, NULL));       /* readers don't wait */
    assert_ok(store_commit(a));
    make_directory(b, "b");
    assert_ok(store_refresh(reader, NULL));
    assert_int_equal(resolve(reader, "a").kind + resolve(reader, "b").kind, 2);
    store_close(a);
    store_close(b);
    store_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_one_generation_each),
        store_test(test_nothing_changed),
        store_test(test_dropped),
        store_test(test_a_refusal_in_the_middle),
        store_test(test_outside),
        store_test(test_committing_twice),
        store_test(test_beginning_twice),
        store_test(test_two_writers),
        store_test(test_two_writers_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
