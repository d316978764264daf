/*
 * How secrets are rotated, as the store keeps it: what is set comes back, limits, and which secrets
 * a walk over all finds.
 */
#include "changes.h"
#include "helpers.h"

#include <stdio.h>
#include <string.h>

static struct store_rotation a_rotation(uint64_t every_s, const char *generator)
{
    struct store_rotation rotation = {.every_s = every_s};
    strcpy(rotation.generator, generator);
    return rotation;
}

static enum store_err set(struct store *s, const char *path, struct store_rotation rotation)
{
    enum store_err err = store_begin(s);
    if (!err)
        err = store_set_rotation(s, path, &rotation);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static void assert_rotation(struct store *s, const char *path, uint64_t every_s,
                            const char *generator)
{
    struct store_details d;
    assert_ok(store_refresh(s, NULL));
    assert_ok(store_details(s, resolve(s, path).node, &d));
    assert_int_equal(d.rotation.every_s, every_s);
    assert_string_equal(d.rotation.generator, generator);
}

/* What a walk has found, as "path/seconds/generator " for each. */
struct found {
    uint64_t nodes[8];
    struct store_rotation rotations[8];
    size_t count;
    size_t most;
};

static bool note(void *arg, uint64_t node, const struct store_details *details)
{
    struct found *found = arg;
    assert_in_range(found->count, 0, 7);
    found->nodes[found->count] = node;
    found->rotations[found->count++] = details->rotation;
    return found->count < found->most;
}

static void assert_found(struct store *s, size_t most, const char *expected)
{
    struct found found = {.most = most};
    char path[STORE_PATH_MAX];
    char text[256] = "";
    size_t len = 0;

    assert_ok(store_each_rotation(s, note, &found));
    for (size_t i = 0; i < found.count; i++) {
        assert_ok(store_path_below(s, STORE_ROOT_ID, found.nodes[i], path));
        len += (size_t)snprintf(text + len, sizeof text - len, "%s:%d:%s ", path,
                                (int)found.rotations[i].every_s, found.rotations[i].generator);
    }
    assert_string_equal(text, expected);
}

static void test_set(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store *other = open_store(f, STORE_FOLLOW);
    uint64_t generation;

    put_text(s, "a", "one");
    assert_rotation(s, "a", 0, "");
    assert_ok(set(s, "a", a_rotation(30, "password:24")));
    assert_rotation(s, "a", 30, "password:24");
    generation = store_generation(s);
    assert_ok(set(s, "a", a_rotation(30, "password:24"))); /* the same: nothing is committed */
    assert_int_equal(store_generation(s), generation);
    put_text(s, "a", "two"); /* a new version leaves it as it is */
    set_mode(s, "a", 0440);
    assert_rotation(s, "a", 30, "password:24");
    assert_rotation(other, "a", 30, "password:24");
    assert_ok(set(s, "a", a_rotation(0, "uuid")));
    assert_rotation(s, "a", 0, "uuid");
    store_close(s);
    s = open_store(f, STORE_READ_WRITE);
    assert_rotation(s, "a", 0, "uuid");
    assert_text(s, "a", "two");
    assert_ok(set(s, "a", a_rotation(0, "")));
    assert_rotation(s, "a", 0, "");
    assert_rotation(other, "a", 0, "");
    assert_ok(store_check(s));
    store_close(other);
    store_close(s);
}

static void test_limits(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct store_rotation longest = a_rotation(STORE_ROTATION_MAX_S, "");
    struct store_rotation unended;

    put_text(s, "a", "one");
    make_directory(s, "dir");
    memset(longest.generator, 'g', STORE_GENERATOR_MAX);
    unended = longest;
    unended.generator[STORE_GENERATOR_MAX] = 'g';
    assert_error(set(s, "a", unended), STORE_ERR_LIMIT);
    assert_error(set(s, "a", a_rotation(STORE_ROTATION_MAX_S + 1, "")), STORE_ERR_LIMIT);
    assert_error(set(s, "a", a_rotation(1, "a\nb")), STORE_ERR_INVALID);
    assert_error(set(s, "a", a_rotation(1, "\xff")), STORE_ERR_INVALID);
    assert_error(set(s, "dir", a_rotation(1, "")), STORE_ERR_IS_DIRECTORY);
    assert_error(set(s, "nothing", a_rotation(1, "")), STORE_ERR_NOT_FOUND);
    assert_rotation(s, "a", 0, "");
    assert_ok(set(s, "a", longest));
    assert_rotation(s, "a", STORE_ROTATION_MAX_S, longest.generator);
    store_close(s);
}

static void test_rotator(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_rotation rotation = {.rotator = "example", .timeout_s = 5};
    struct store_rotation wrong;
    struct store_details d;
    uint64_t generation;

    put_text(s, "a", "one");
    put_text(s, "a", "two");
    assert_ok(set(s, "a", rotation));
    rotation.step = STORE_STEP_FINISH;
    rotation.old_number = 1;
    rotation.new_number = 2;
    assert_ok(set(s, "a", rotation));
    store_close(s);
    s = open_store(f, STORE_READ_WRITE);
    assert_ok(store_details(s, resolve(s, "a").node, &d));
    assert_string_equal(d.rotation.rotator, "example");
    assert_int_equal(d.rotation.timeout_s, 5);
    assert_int_equal(d.rotation.step, STORE_STEP_FINISH);
    assert_int_equal(d.rotation.old_number, 1);
    assert_int_equal(d.rotation.new_number, 2);
    assert_found(s, 8, "a:0: ");
    generation = store_generation(s);
    assert_ok(set(s, "a", rotation)); /* the same: nothing is committed */
    assert_int_equal(store_generation(s), generation);
    wrong = rotation;
    wrong.timeout_s = STORE_STEP_TIMEOUT_MAX_S + 1;
    assert_error(set(s, "a", wrong), STORE_ERR_LIMIT);
    wrong = rotation;
    memset(wrong.rotator, 'r', sizeof wrong.rotator);
    assert_error(set(s, "a", wrong), STORE_ERR_LIMIT);
    wrong = rotation;
    strcpy(wrong.rotator, "a/b");
    assert_error(set(s, "a", wrong), STORE_ERR_INVALID);
    wrong = rotation;
    wrong.new_number = 3; /* there is no such version yet */
    assert_error(set(s, "a", wrong), STORE_ERR_INVALID);
    wrong = a_rotation(5, "uuid");
    wrong.step = STORE_STEP_CREATE; /* of no rotator */
    wrong.old_number = 2;
    assert_error(set(s, "a", wrong), STORE_ERR_INVALID);
    assert_ok(store_check(s));
    store_close(s);
}

static void test_walk(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store *other = open_store(f, STORE_FOLLOW);

    assert_found(s, 8, "");
    make_directory(s, "dir");
    put_text(s, "dir/a", "one");
    put_text(s, "none", "x");
    put_text(s, "b", "y");
    assert_ok(set(s, "b", a_rotation(0, "uuid")));
    assert_ok(set(s, "dir/a", a_rotation(5, "")));
    assert_found(s, 8, "dir/a:5: b:0:uuid ");
    assert_found(s, 1, "dir/a:5: ");
    assert_found(other, 8, "dir/a:5: b:0:uuid "); /* it sees what others have committed */
    remove_path(s, "b");
    assert_found(s, 8, "dir/a:5: ");
    assert_ok(store_begin(s));
    assert_ok(store_restore(s, "b"));
    assert_found(s, 8, "dir/a:5: b:0:uuid "); /* also what is not committed yet */
    assert_ok(store_move(s, "b", "dir/c"));
    assert_ok(store_commit(s));
    assert_found(other, 8, "dir/a:5: dir/c:0:uuid ");
    assert_ok(set(s, "dir/a", a_rotation(0, "")));
    assert_found(s, 8, "dir/c:0:uuid ");
    store_close(other);
    store_close(s);
}

static void test_a_changed_row_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct found found = {.most = 8};

    put_text(s, "a", "one");
    put_text(s, "b", "two");
    assert_ok(set(s, "a", a_rotation(5, "uuid")));
    raw_sql_format(f, "UPDATE node SET seal = zeroblob(40) WHERE id = %llu",
                   (unsigned long long)resolve(s, "a").node);
    assert_error(store_each_rotation(s, note, &found), STORE_ERR_INTEGRITY);
    assert_int_equal(found.count, 0);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_set),
        store_test(test_limits),
        store_test(test_rotator),
        store_test(test_walk),
        store_test(test_a_changed_row_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
