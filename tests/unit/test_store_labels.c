/*
 * Labels: what moves which, what keeps a version from being pruned, what is refused, and what views
 * of a label and followers see.
 */
#include "changes.h"
#include "helpers.h"

#include <stdio.h>
#include <string.h>

static enum store_err finish(struct store *s, enum store_err err)
{
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

static enum store_err put_pending(struct store *s, const char *path, const char *text,
                                  uint32_t *ret_number)
{
    SECBUF_AUTO struct secbuf value = secret_of(text, strlen(text));
    assert_ok(store_begin(s));
    return finish(s, store_put_pending(s, path, &value, ret_number));
}

static enum store_err set_label(struct store *s, const char *path, enum store_label label,
                                uint32_t number)
{
    assert_ok(store_begin(s));
    return finish(s, store_set_label(s, path, label, number));
}

static uint32_t number_of(const struct store_details *d, uint64_t version)
{
    for (uint32_t i = 0; i < d->version_count; i++)
        if (d->versions[i].id == version)
            return d->versions[i].number;
    return 0;
}

/* The number that a view shows; 0 if the name is not in it. A listing must say the same. */
struct seen {
    const char *name;
    uint32_t number;
};

static bool see(void *arg, const char *name, const struct store_attr *attr)
{
    struct seen *seen = arg;
    if (strcmp(name, seen->name) == 0)
        seen->number = attr->number;
    return true;
}

static uint32_t in_view(struct store *s, const char *name, enum store_label label)
{
    struct seen seen = {.name = name};
    struct store_attr attr = {.number = 0};
    enum store_err err = store_lookup_label(s, STORE_ROOT_ID, name, label, &attr);

    if (err)
        assert_error(err, STORE_ERR_NOT_FOUND);
    assert_ok(store_list_label(s, STORE_ROOT_ID, label, 0, see, &seen));
    assert_int_equal(seen.number, err ? 0 : attr.number);
    return seen.number;
}

static void assert_labels(struct store *s, const char *path, uint32_t current, uint32_t previous,
                          uint32_t pending)
{
    static struct store_details d;
    assert_ok(store_details(s, resolve(s, path).node, &d));
    assert_int_equal(number_of(&d, d.current), current);
    assert_int_equal(number_of(&d, d.previous), previous);
    assert_int_equal(number_of(&d, d.pending), pending);
    assert_int_equal(resolve(s, path).previous_number, previous);
    assert_int_equal(resolve(s, path).pending_number, pending);
    assert_int_equal(in_view(s, path, STORE_LABEL_CURRENT), current);
    assert_int_equal(in_view(s, path, STORE_LABEL_PREVIOUS), previous);
    assert_int_equal(in_view(s, path, STORE_LABEL_PENDING), pending);
}

static void test_pending(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_stats before;
    struct store_stats after;
    uint32_t number = 0;

    put_text(s, "secret", "one");
    assert_labels(s, "secret", 1, 0, 0);
    struct store_attr attr = resolve(s, "secret");
    assert_ok(put_pending(s, "secret", "two", &number));
    assert_int_equal(number, 2);
    assert_labels(s, "secret", 1, 0, 2);
    assert_text(s, "secret", "one");
    assert_int_equal(resolve(s, "secret").version, attr.version);

    store_stats(s, &before);
    assert_ok(put_pending(s, "secret", "two", &number)); /* it is already */
    assert_int_equal(number, 2);
    store_stats(s, &after);
    assert_int_equal(after.generation, before.generation);
    assert_ok(put_pending(s, "secret", "three", &number));
    assert_labels(s, "secret", 1, 0, 3); /* 2 is kept, without a label */
    assert_ok(put_pending(s, "secret", "one", &number));
    assert_labels(s, "secret", 1, 0, 4); /* only what is pending counts */

    put_text(s, "secret", "five"); /* what is pending stays so */
    assert_labels(s, "secret", 5, 1, 4);
    assert_ok(set_label(s, "secret", STORE_LABEL_CURRENT, 4));
    assert_labels(s, "secret", 4, 5, 0);
    assert_text(s, "secret", "one");
    store_close(s);
    s = open_store(f, STORE_READ_ONLY);
    assert_labels(s, "secret", 4, 5, 0);
    assert_ok(store_check(s));
    store_close(s);
}

static void test_moving(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);

    put_text(s, "secret", "one");
    put_text(s, "secret", "two");
    put_text(s, "secret", "three");
    assert_labels(s, "secret", 3, 2, 0);
    assert_ok(set_label(s, "secret", STORE_LABEL_PREVIOUS, 1));
    assert_ok(set_label(s, "secret", STORE_LABEL_PENDING, 2));
    assert_labels(s, "secret", 3, 1, 2);
    assert_ok(set_label(s, "secret", STORE_LABEL_PENDING, 1)); /* two labels on one version */
    assert_labels(s, "secret", 3, 1, 1);
    store_close(s);
    s = open_store(f, STORE_READ_WRITE);
    assert_labels(s, "secret", 3, 1, 1);
    assert_ok(store_begin(s)); /* a rollback takes both away */
    assert_ok(finish(s, store_set_current(s, "secret", 0)));
    assert_labels(s, "secret", 1, 3, 0);
    assert_ok(set_label(s, "secret", STORE_LABEL_PREVIOUS, 0));
    assert_labels(s, "secret", 1, 0, 0);
    assert_ok(set_label(s, "secret", STORE_LABEL_PENDING, 0)); /* there is none */
    assert_labels(s, "secret", 1, 0, 0);
    assert_ok(set_label(s, "secret", STORE_LABEL_CURRENT, 1)); /* it is */
    assert_labels(s, "secret", 1, 0, 0);
    store_close(s);
}

static void test_refusals(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf large = secret_filled(STORE_VALUE_MAX + 1, 1);
    uint32_t number = 4711;

    put_text(s, "secret", "one");
    put_text(s, "secret", "two");
    put_text(s, "secret", "three");
    make_directory(s, "dir");
    assert_ok(store_begin(s));
    assert_ok(finish(s, store_revoke(s, "secret", 1)));
    for (int label = STORE_LABEL_CURRENT; label <= STORE_LABEL_PENDING; label++) {
        enum store_label l = (enum store_label)label;
        assert_error(set_label(s, "secret", l, 4), STORE_ERR_NO_VERSION);
        assert_error(set_label(s, "secret", l, UINT32_MAX), STORE_ERR_NO_VERSION);
        assert_error(set_label(s, "secret", l, 1), STORE_ERR_REVOKED);
        assert_error(set_label(s, "dir", l, 1), STORE_ERR_IS_DIRECTORY);
        assert_error(set_label(s, "none", l, 1), STORE_ERR_NOT_FOUND);
        if (l != STORE_LABEL_CURRENT)
            assert_error(set_label(s, "secret", l, 3), STORE_ERR_INVALID);
    }
    assert_error(set_label(s, "secret", STORE_LABEL_CURRENT, 0), STORE_ERR_INVALID);
    assert_error(set_label(s, "secret", (enum store_label)3, 2), STORE_ERR_INVALID);
    assert_error(put_pending(s, "dir", "x", &number), STORE_ERR_IS_DIRECTORY);
    assert_error(put_pending(s, "none", "x", &number), STORE_ERR_NOT_FOUND);
    assert_error(put_pending(s, "secret/x", "x", &number), STORE_ERR_NOT_DIRECTORY);
    assert_ok(store_begin(s));
    assert_error(finish(s, store_put_pending(s, "secret", &large, &number)), STORE_ERR_LIMIT);
    assert_error(store_set_label(s, "secret", STORE_LABEL_PENDING, 2), STORE_ERR_INVALID);
    assert_int_equal(number, 4711);
    assert_labels(s, "secret", 3, 2, 0);
    store_close(s);
}

static void test_revoked(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct store_attr attr;
    uint32_t number = 0;

    put_text(s, "secret", "one");
    assert_ok(put_pending(s, "secret", "two", &number));
    assert_ok(store_begin(s));
    assert_ok(finish(s, store_revoke(s, "secret", 2)));
    assert_labels(s, "secret", 1, 0, 2); /* the label stays */
    assert_ok(store_lookup_label(s, STORE_ROOT_ID, "secret", STORE_LABEL_PENDING, &attr));
    assert_true(attr.revoked);
    assert_error(store_read(s, attr.version, &value), STORE_ERR_REVOKED);
    assert_error(set_label(s, "secret", STORE_LABEL_CURRENT, 2), STORE_ERR_REVOKED);
    assert_ok(put_pending(s, "secret", "two", &number)); /* once more, as that one is of no use */
    assert_int_equal(number, 3);
    assert_ok(set_label(s, "secret", STORE_LABEL_CURRENT, 3));
    assert_labels(s, "secret", 3, 1, 0);
    store_close(s);
}

static bool is_kept(struct store *s, const char *path, uint32_t number)
{
    static struct store_details d;
    assert_ok(store_details(s, resolve(s, path).node, &d));
    for (uint32_t i = 0; i < d.version_count; i++)
        if (d.versions[i].number == number)
            return true;
    return false;
}

static void test_pruning(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    char text[16];
    uint32_t n = 0;

    while (n < STORE_VERSIONS_KEPT) {
        snprintf(text, sizeof text, "%u", ++n);
        put_text(s, "secret", text);
    }
    assert_ok(set_label(s, "secret", STORE_LABEL_CURRENT, 3));
    assert_ok(set_label(s, "secret", STORE_LABEL_PREVIOUS, 1));
    assert_ok(set_label(s, "secret", STORE_LABEL_PENDING, 2));
    put_text(s, "secret", "101"); /* 3 is previous now, and 1 nothing */
    assert_false(is_kept(s, "secret", 1));
    assert_labels(s, "secret", 101, 3, 2);
    put_text(s, "secret", "102");
    assert_true(is_kept(s, "secret", 2));
    assert_false(is_kept(s, "secret", 3));
    assert_ok(set_label(s, "secret", STORE_LABEL_PREVIOUS, 4));
    assert_ok(put_pending(s, "secret", "103", &n)); /* 2 is pending no more */
    assert_labels(s, "secret", 102, 4, 103);
    assert_false(is_kept(s, "secret", 2));
    assert_ok(put_pending(s, "secret", "104", &n));
    assert_true(is_kept(s, "secret", 4));
    assert_false(is_kept(s, "secret", 5));
    assert_labels(s, "secret", 102, 4, 104);
    store_close(s);
    s = open_store(f, STORE_READ_ONLY);
    assert_ok(store_check(s));
    assert_labels(s, "secret", 102, 4, 104);
    store_close(s);
}

static void test_views(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    struct seen seen = {.name = "dir", .number = 9};
    struct store_attr attr;

    make_directory(s, "dir");
    put_text(s, "plain", "one");
    put_text(s, "dir/secret", "one");
    put_text(s, "dir/secret", "two");
    uint64_t dir = resolve(s, "dir").node;
    assert_ok(store_lookup_label(s, STORE_ROOT_ID, "dir", STORE_LABEL_PENDING, &attr));
    assert_int_equal(attr.node, dir);
    assert_int_equal(attr.version, 0);
    assert_ok(store_list_label(s, STORE_ROOT_ID, STORE_LABEL_PENDING, 0, see, &seen));
    assert_int_equal(seen.number, 0); /* directories are listed in every view */
    assert_int_equal(in_view(s, "plain", STORE_LABEL_PREVIOUS), 0);
    assert_ok(store_lookup_label(s, dir, "secret", STORE_LABEL_PREVIOUS, &attr));
    assert_int_equal(attr.number, 1);
    assert_int_equal(attr.current, resolve(s, "dir/secret").version);
    assert_error(store_lookup_label(s, dir, "secret", STORE_LABEL_PENDING, &attr),
                 STORE_ERR_NOT_FOUND);
    assert_error(store_lookup_label(s, dir, "secret", (enum store_label)3, &attr),
                 STORE_ERR_NOT_FOUND);
    assert_error(store_lookup_label(s, STORE_ROOT_ID, "@x", STORE_LABEL_PREVIOUS, &attr),
                 STORE_ERR_NAME);
    assert_error(store_lookup_label(s, 9999, "a", STORE_LABEL_PREVIOUS, &attr),
                 STORE_ERR_NOT_FOUND);
    assert_error(store_list_label(s, 9999, STORE_LABEL_PREVIOUS, 0, see, &seen),
                 STORE_ERR_NOT_FOUND);
    remove_path(s, "dir/secret");
    assert_error(store_lookup_label(s, dir, "secret", STORE_LABEL_PREVIOUS, &attr),
                 STORE_ERR_NOT_FOUND);
    store_close(s);
}

/* ---- Followers --------------------------------------------------------------------------------
 */

/* A change of labels alone is told, as one of policy. */
static void test_told(void **state)
{
    struct fixture *f = *state;
    struct store *writer = open_store(f, STORE_READ_WRITE);
    uint32_t number = 0;
    put_text(writer, "secret", "one");
    put_text(writer, "secret", "two");
    struct store *follower = open_store(f, STORE_FOLLOW);

    for (int step = 0; step < 3; step++) {
        struct store_changes changes = STORE_CHANGES_INIT;
        if (step == 0)
            assert_ok(put_pending(writer, "secret", "three", &number));
        else if (step == 1)
            assert_ok(set_label(writer, "secret", STORE_LABEL_PREVIOUS, 0));
        else
            assert_ok(set_label(writer, "secret", STORE_LABEL_CURRENT, 3));
        assert_ok(store_refresh(follower, &changes));
        assert_int_equal(changes.count, 1);
        assert_string_equal(changes.items[0].name, "secret");
        assert_int_equal(changes.items[0].kinds & STORE_CHANGED_POLICY, STORE_CHANGED_POLICY);
        assert_int_equal(changes.items[0].kinds & STORE_CHANGED_VERSION,
                         step == 2 ? STORE_CHANGED_VERSION : 0);
        store_changes_release(&changes);
    }
    assert_labels(follower, "secret", 3, 2, 0);
    store_close(follower);
    store_close(writer);
}

/* What is pending was never shown, so a restarted follower does not take it for what was. */
static void test_held(void **state)
{
    struct fixture *f = *state;
    struct store *writer = open_store(f, STORE_READ_WRITE);
    uint32_t number = 0;

    put_text(writer, "one", "1");
    put_text(writer, "two", "1");
    assert_ok(put_pending(writer, "one", "2", &number));
    assert_ok(put_pending(writer, "two", "2", &number));
    uint64_t first = store_next_id(writer);
    put_text(writer, "one", "3");
    put_text(writer, "two", "3");
    put_text(writer, "two", "4");
    struct store *follower = open_store(f, STORE_FOLLOW);
    store_hold_names(follower, first);
    assert_labels(writer, "one", 3, 1, 2);
    assert_labels(writer, "two", 4, 3, 2);
    assert_int_equal(in_view(follower, "one", STORE_LABEL_CURRENT), 1);
    assert_int_equal(in_view(follower, "two", STORE_LABEL_CURRENT), 1);
    assert_int_equal(in_view(follower, "one", STORE_LABEL_PENDING), 2); /* no label of theirs */
    assert_int_equal(in_view(follower, "two", STORE_LABEL_PREVIOUS), 3);

    assert_ok(set_label(writer, "one", STORE_LABEL_CURRENT, 2));
    assert_ok(store_refresh(follower, NULL));
    assert_int_equal(in_view(follower, "one", STORE_LABEL_CURRENT), 1); /* until it is shown */
    assert_int_equal(in_view(follower, "one", STORE_LABEL_PREVIOUS), 3);
    struct store_attr attr = resolve(writer, "one");
    assert_ok(store_show(follower, attr.version, STORE_ROOT_ID, "one"));
    assert_int_equal(in_view(follower, "one", STORE_LABEL_CURRENT), 2);
    store_close(follower);
    store_close(writer);
}

/* Nor is the newest one there was what was shown, where an older one had been made current. */
static void test_held_after_a_rollback(void **state)
{
    struct fixture *f = *state;
    struct store *writer = open_store(f, STORE_READ_WRITE);

    put_text(writer, "secret", "1");
    put_text(writer, "secret", "2");
    assert_ok(set_label(writer, "secret", STORE_LABEL_CURRENT, 1));
    uint64_t first = store_next_id(writer);
    put_text(writer, "secret", "3");
    struct store *follower = open_store(f, STORE_FOLLOW);
    store_hold_names(follower, first);
    assert_int_equal(in_view(follower, "secret", STORE_LABEL_CURRENT), 1);
    store_close(follower);
    store_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_pending), store_test(test_moving),  store_test(test_refusals),
        store_test(test_revoked), store_test(test_pruning), store_test(test_views),
        store_test(test_told),    store_test(test_held),    store_test(test_held_after_a_rollback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
