/*
 * Revocation and expiry as the API has them: what is read, refused, made current, told to
 * followers. The clock is a test's own where it is to be another time (clock_gettime() is
 * replaced).
 */
#include "changes.h"
#include "helpers.h"

#include <string.h>
#include <time.h>

int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

static int64_t fake_ns; /* 0: the real time */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    if (fake_ns == 0 || clock != CLOCK_REALTIME)
        return __real_clock_gettime(clock, ret_time);
    *ret_time = (struct timespec){fake_ns / 1000000000, fake_ns % 1000000000};
    return 0;
}

static void revoke(struct store *s, const char *path, uint32_t number)
{
    assert_ok(store_begin(s));
    assert_ok(store_revoke(s, path, number));
    assert_ok(store_commit(s));
}

static void expire(struct store *s, const char *path, int64_t when_ns)
{
    assert_ok(store_begin(s));
    assert_ok(store_set_expiry(s, path, when_ns));
    assert_ok(store_commit(s));
}

static enum store_err try_change(struct store *s, const char *path, uint32_t number)
{
    assert_ok(store_begin(s));
    enum store_err err = store_set_current(s, path, number);
    store_rollback(s);
    return err;
}

static enum store_err read_id(struct store *s, uint64_t id)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    enum store_err err = store_read(s, id, &value);
    if (err)
        assert_int_equal(value.len, 0);
    return err;
}

static void test_revoke_all(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct store_details details;
    uint64_t ids[3];
    size_t count;

    put_text(s, "a", "one");
    put_text(s, "a", "two");
    revoke(s, "a", 0);
    assert_ok(store_version_ids(s, resolve(s, "a").node, ids, 3, &count));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_error(read_id(s, ids[i]), STORE_ERR_REVOKED);
    assert_true(resolve(s, "a").revoked);
    assert_error(try_change(s, "a", 0), STORE_ERR_REVOKED);

    uint64_t generation = store_generation(s);
    revoke(s, "a", 0); /* again: nothing to do */
    assert_int_equal(store_generation(s), generation);
    assert_ok(store_check(s));

    assert_int_equal(put_text(s, "a", "two"), 3); /* the same value is a new version */
    assert_text(s, "a", "two");
    assert_false(resolve(s, "a").revoked);
    assert_error(try_change(s, "a", 1), STORE_ERR_REVOKED);
    assert_ok(store_details(s, resolve(s, "a").node, &details));
    assert_true(details.versions[0].revoked_ns > 0 && details.versions[1].revoked_ns > 0);
    assert_int_equal(details.versions[2].revoked_ns, 0);
    store_close(s);

    s = open_store(*state, STORE_READ_ONLY); /* and after loading */
    assert_text(s, "a", "two");
    assert_error(read_id(s, ids[0]), STORE_ERR_REVOKED);
    store_close(s);
}

static void test_revoke_one(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "a", "one");
    uint64_t one = resolve(s, "a").version;
    put_text(s, "a", "two");
    revoke(s, "a", 1);
    assert_error(read_id(s, one), STORE_ERR_REVOKED);
    assert_text(s, "a", "two");

    revoke(s, "a", 2);
    put_text(s, "a", "three");
    revoke(s, "a", 3); /* the current one: the path shows it still */
    assert_int_equal(resolve(s, "a").number, 3);
    assert_error(read_id(s, resolve(s, "a").version), STORE_ERR_REVOKED);

    make_directory(s, "d");
    assert_ok(store_begin(s));
    assert_error(store_revoke(s, "a", 4), STORE_ERR_NO_VERSION);
    assert_error(store_revoke(s, "b", 0), STORE_ERR_NOT_FOUND);
    assert_error(store_revoke(s, "d", 0), STORE_ERR_IS_DIRECTORY);
    assert_error(store_set_expiry(s, "d", 1), STORE_ERR_IS_DIRECTORY);
    assert_error(store_set_expiry(s, "a", -1), STORE_ERR_INVALID);
    store_rollback(s);
    store_close(s);
}

static void test_it_stays_through_removal(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "a", "one");
    uint64_t one = resolve(s, "a").version;
    revoke(s, "a", 0);
    expire(s, "a", INT64_MAX);
    remove_path(s, "a");
    assert_error(read_id(s, one), STORE_ERR_REVOKED);
    assert_ok(store_begin(s));
    assert_ok(store_restore(s, "a"));
    assert_ok(store_move(s, "a", "b"));
    assert_ok(store_commit(s));
    assert_error(read_id(s, one), STORE_ERR_REVOKED);
    assert_true(resolve(s, "b").expires_ns == INT64_MAX);
    store_close(s);
}

static void test_expiry(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "a", "one");
    uint64_t one = resolve(s, "a").version;
    put_text(s, "a", "two");
    fake_ns = 5000;
    expire(s, "a", 5001);
    assert_text(s, "a", "two");
    fake_ns = 5001;
    assert_error(read_id(s, resolve(s, "a").version), STORE_ERR_EXPIRED);
    assert_error(read_id(s, one), STORE_ERR_EXPIRED);
    fake_ns = 5000; /* the clock was set back */
    assert_text(s, "a", "two");
    fake_ns = 6000;
    put_text(s, "a", "three"); /* the time stays */
    assert_error(read_id(s, resolve(s, "a").version), STORE_ERR_EXPIRED);
    assert_ok(store_check(s));
    revoke(s, "a", 1);
    assert_error(read_id(s, one), STORE_ERR_REVOKED);
    expire(s, "a", 0);
    assert_text(s, "a", "three");
    fake_ns = 0;
    store_close(s);
}

/* Tell what has expired by `now_ns`: the number of secrets, each as POLICY. */
static size_t take(struct store *s, int64_t now_ns, uint64_t *ret_node)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    assert_ok(store_take_expired(s, now_ns, &changes));
    size_t count = changes.count;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(changes.items[i].kinds, STORE_CHANGED_POLICY);
        *ret_node = changes.items[i].node;
    }
    store_changes_release(&changes);
    return count;
}

static void test_next_expiry(void **state)
{
    struct store *writer = open_store(*state, STORE_READ_WRITE);
    struct store *s = open_store(*state, STORE_READ_ONLY);
    uint64_t node = 0;

    assert_true(store_next_expiry(s) == INT64_MAX);
    put_text(writer, "a", "one");
    put_text(writer, "b", "two");
    expire(writer, "a", 200);
    expire(writer, "b", 100);
    assert_ok(store_refresh(s, NULL));
    assert_int_equal(store_next_expiry(s), 100);
    assert_int_equal(take(s, 99, &node), 0);
    assert_int_equal(take(s, 100, &node), 1);
    assert_int_equal(node, resolve(s, "b").node);
    assert_int_equal(store_next_expiry(s), 200);
    put_text(writer, "b", "three"); /* the same time is not told again */
    assert_ok(store_refresh(s, NULL));
    assert_int_equal(store_next_expiry(s), 200);
    remove_path(writer, "a"); /* a removed one still has descriptors */
    assert_ok(store_refresh(s, NULL));
    assert_int_equal(take(s, 300, &node), 1);
    assert_true(store_next_expiry(s) == INT64_MAX);
    store_expire_again(s);
    assert_int_equal(store_next_expiry(s), 100);
    expire(writer, "b", 0);
    assert_ok(store_refresh(s, NULL));
    assert_int_equal(store_next_expiry(s), 200);
    store_close(s);

    s = open_store(*state, STORE_READ_ONLY); /* after loading, all once more */
    assert_int_equal(take(s, 300, &node), 1);
    store_close(s);
    store_close(writer);
}

static void test_followers_hear_of_it(void **state)
{
    struct store *writer = open_store(*state, STORE_READ_WRITE);
    struct store *s = open_store(*state, STORE_READ_ONLY);
    struct store_changes changes = STORE_CHANGES_INIT;

    put_text(writer, "a", "one");
    assert_ok(store_refresh(s, NULL));
    revoke(writer, "a", 0);
    assert_ok(store_refresh(s, &changes));
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.items[0].kinds, STORE_CHANGED_POLICY);
    store_changes_release(&changes);
    assert_error(read_id(s, resolve(s, "a").version), STORE_ERR_REVOKED);
    expire(writer, "a", 100);
    assert_ok(store_refresh(s, &changes));
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.items[0].kinds, STORE_CHANGED_POLICY);
    store_changes_release(&changes);

    put_text(writer, "b", "one");
    remove_path(writer, "b");
    assert_ok(store_refresh(s, NULL));
    assert_ok(store_begin(writer)); /* back, revoked and away again, in a moment */
    assert_ok(store_restore(writer, "b"));
    assert_ok(store_revoke(writer, "b", 0));
    assert_ok(store_remove(writer, "b", STORE_RECOVERY_S));
    assert_ok(store_commit(writer));
    assert_ok(store_refresh(s, &changes));
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.items[0].kinds, STORE_CHANGED_POLICY);
    store_changes_release(&changes);
    store_close(s);
    store_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_revoke_all),  store_test(test_revoke_one),
        store_test(test_expiry),      store_test(test_it_stays_through_removal),
        store_test(test_next_expiry), store_test(test_followers_hear_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
