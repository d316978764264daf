/*
 * Rules of who alone may open what: the lists, and what a store says by them.
 */
#include "changes.h"
#include "helpers.h"

#include <stdio.h>
#include <string.h>

static struct store_rules rules_of(const char *unit, const char *executable)
{
    struct store_rules rules = {0};

    if (unit)
        assert_ok(store_rules_add(&rules, STORE_RULE_UNIT, unit));
    if (executable)
        assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, executable));
    return rules;
}

static enum store_err set(struct store *s, const char *path, const char *unit,
                          const char *executable)
{
    struct store_rules rules = rules_of(unit, executable);
    enum store_err err = store_begin(s);

    if (!err)
        err = store_set_rules(s, path, &rules);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

/* As "unit executable". */
static bool allows(struct store *s, uint64_t id, const char *unit, const char *executable)
{
    const struct store_caller caller = {.unit = unit, .executable = executable};
    return store_allows(s, id, &caller);
}

/* ---- Lists --------------------------------------------------------------- */

static void test_valid_texts(void **state)
{
    static const char *const units[] = {"nginx.service",    "a@b.service", "a-b_c:d.scope",
                                        "a\\x2db.mount",    "x.socket",    "y.swap",
                                        "user@1000.service"};
    static const char *const no_units[] = {"",          "nginx",     ".service",      "a.timer",
                                           "a.slice",   "a b.scope", "a/b.service",   "a.service/",
                                           "a\n.scope", "*.service", "\xc3\xa4.scope"};
    static const char *const paths[] = {"/a", "/usr/sbin/nginx", "/a b/.c/...", "/\xc3\xa4"};
    static const char *const no_paths[] = {"",     "a",     "/",     "/a/", "//a",  "/a//b", "/a/.",
                                           "/./a", "/a/..", "/../a", "./a", "/a\n", "/\xff"};
    char long_text[STORE_EXECUTABLE_MAX + 2];
    (void)state;

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        assert_true(store_rule_valid(STORE_RULE_UNIT, units[i]));
    for (size_t i = 0; i < sizeof no_units / sizeof *no_units; i++)
        assert_false(store_rule_valid(STORE_RULE_UNIT, no_units[i]));
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_true(store_rule_valid(STORE_RULE_EXECUTABLE, paths[i]));
    for (size_t i = 0; i < sizeof no_paths / sizeof *no_paths; i++)
        assert_false(store_rule_valid(STORE_RULE_EXECUTABLE, no_paths[i]));
    memset(long_text, 'a', sizeof long_text);
    long_text[0] = '/';
    long_text[sizeof long_text - 1] = '\0';
    assert_false(store_rule_valid(STORE_RULE_EXECUTABLE, long_text));
    long_text[STORE_EXECUTABLE_MAX] = '\0';
    assert_true(store_rule_valid(STORE_RULE_EXECUTABLE, long_text));
    snprintf(long_text, sizeof long_text, "%0*d.service", STORE_UNIT_MAX - 8, 0);
    assert_true(store_rule_valid(STORE_RULE_UNIT, long_text));
    snprintf(long_text, sizeof long_text, "%0*d.service", STORE_UNIT_MAX - 7, 0);
    assert_false(store_rule_valid(STORE_RULE_UNIT, long_text));
}

static void test_lists_are_sorted(void **state)
{
    static const char *const sorted[] = {"/a", "/aa", "/b", "/c"};
    struct store_rules rules = {0};
    const struct store_rule_list *list = &rules.kinds[STORE_RULE_EXECUTABLE];
    const char *text = NULL;
    (void)state;

    assert_true(store_rules_empty(&rules) && store_rules_valid(&rules));
    assert_null(store_rule_next(list, NULL));
    assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/b"));
    assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/aa"));
    assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/c"));
    assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/a"));
    assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/b")); /* it is there */
    for (size_t i = 0; i < 4; i++) {
        text = store_rule_next(list, text);
        assert_string_equal(text, sorted[i]);
    }
    assert_null(store_rule_next(list, text));
    assert_int_equal(list->count, 4);
    assert_true(store_rules_valid(&rules) && !store_rules_empty(&rules));
    assert_error(store_rules_remove(&rules, STORE_RULE_EXECUTABLE, "/ab"), STORE_ERR_NOT_FOUND);
    assert_error(store_rules_remove(&rules, STORE_RULE_UNIT, "/b"), STORE_ERR_NOT_FOUND);
    assert_ok(store_rules_remove(&rules, STORE_RULE_EXECUTABLE, "/aa"));
    assert_ok(store_rules_remove(&rules, STORE_RULE_EXECUTABLE, "/c"));
    assert_int_equal(list->count, 2);
    assert_memory_equal(list->text, "/a\0/b", 6);
    assert_int_equal(list->bytes, 6);
    assert_ok(store_rules_remove(&rules, STORE_RULE_EXECUTABLE, "/a"));
    assert_ok(store_rules_remove(&rules, STORE_RULE_EXECUTABLE, "/b"));
    assert_true(store_rules_empty(&rules));
}

static void test_lists_are_bounded(void **state)
{
    struct store_rules rules = {0};
    char text[1024];
    (void)state;

    assert_error(store_rules_add(&rules, STORE_RULE_UNIT, "/a"), STORE_ERR_INVALID);
    assert_error(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "a.service"), STORE_ERR_INVALID);
    for (unsigned i = 0; i < STORE_RULES_KIND_MAX; i++) {
        snprintf(text, sizeof text, "u%u.service", i);
        assert_ok(store_rules_add(&rules, STORE_RULE_UNIT, text));
    }
    assert_error(store_rules_add(&rules, STORE_RULE_UNIT, "one.service"), STORE_ERR_LIMIT);
    assert_ok(store_rules_add(&rules, STORE_RULE_UNIT, "u7.service"));
    for (unsigned i = 0; i < 4; i++) {
        memset(text, (int)('a' + i), sizeof text);
        text[0] = '/';
        text[sizeof text - 1] = '\0';
        assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, text));
    }
    assert_error(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/x"), STORE_ERR_LIMIT);
    assert_true(store_rules_valid(&rules));
}

/* ---- In a store ---------------------------------------------------------- */

static void test_what_is_set_comes_back(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_rules rules = rules_of("a.service", "/bin/b");
    struct store_details d;

    put_text(s, "secret", "value");
    assert_false(store_has_rules(s));
    assert_ok(set(s, "secret", "a.service", "/bin/b"));
    assert_true(store_has_rules(s));
    uint64_t generation = store_generation(s);
    assert_ok(set(s, "secret", "a.service", "/bin/b")); /* nothing new */
    assert_int_equal(store_generation(s), generation);
    put_text(s, "secret", "another");
    set_mode(s, "secret", 0440);
    assert_ok(store_begin(s));
    assert_ok(store_move(s, "secret", "elsewhere"));
    assert_ok(store_commit(s));
    store_close(s);

    s = open_store(f, STORE_READ_ONLY);
    uint64_t node = resolve(s, "elsewhere").node;
    assert_ok(store_details(s, node, &d));
    assert_true(store_rules_equal(&d.rules, &rules));
    assert_true(store_is_ruled(s, node));
    assert_true(allows(s, node, "a.service", "/bin/b"));
    assert_false(allows(s, node, "b.service", "/bin/b"));
    store_close(s);
}

static void test_errors(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_rules bad = rules_of("a.service", NULL);

    assert_error(set(s, "nothing", "a.service", NULL), STORE_ERR_NOT_FOUND);
    assert_error(store_set_rules(s, "", &bad), STORE_ERR_INVALID); /* outside a transaction */
    bad.kinds[STORE_RULE_UNIT].text[0] = '/';
    assert_ok(store_begin(s));
    assert_error(store_set_rules(s, "", &bad), STORE_ERR_INVALID);
    store_rollback(s);
    assert_false(store_has_rules(s));
    assert_false(allows(s, 99, "a.service", "/bin/a")); /* there is no such id */
    assert_false(store_is_ruled(s, 99));
    store_close(s);
}

/* Any of the units, and any of the executables. */
static void test_both_kinds_count(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_rules rules = rules_of("a.service", "/bin/a");

    assert_ok(store_rules_add(&rules, STORE_RULE_UNIT, "b.service"));
    assert_ok(store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/bin/b"));
    put_text(s, "secret", "value");
    uint64_t node = resolve(s, "secret").node;
    assert_true(allows(s, node, "", ""));
    assert_false(store_is_ruled(s, node));
    assert_ok(store_begin(s));
    assert_ok(store_set_rules(s, "secret", &rules));
    assert_ok(store_commit(s));
    assert_true(store_is_ruled(s, node));
    assert_true(store_is_ruled(s, resolve(s, "secret").version));
    assert_true(allows(s, node, "a.service", "/bin/b"));
    assert_true(allows(s, resolve(s, "secret").version, "b.service", "/bin/a"));
    assert_false(allows(s, node, "a.service", "/bin/c"));
    assert_false(allows(s, node, "c.service", "/bin/a"));
    assert_false(allows(s, node, "", "/bin/a"));
    assert_false(allows(s, node, "a.service", ""));
    assert_false(allows(s, node, "", ""));
    assert_false(allows(s, node, "/bin/a", "a.service"));
    assert_false(allows(s, node, "a.servic", "/bin/a"));
    assert_false(allows(s, node, ".service", "/bin/a"));
    assert_ok(set(s, "secret", NULL, "/bin/a"));
    assert_true(allows(s, node, "", "/bin/a"));
    assert_false(allows(s, node, "a.service", ""));
    assert_ok(set(s, "secret", "a.service", NULL));
    assert_true(allows(s, node, "a.service", ""));
    assert_ok(set(s, "secret", NULL, NULL));
    assert_true(allows(s, node, "", ""));
    assert_false(store_has_rules(s));
    store_close(s);
}

static void test_all_on_the_way_hold(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);

    make_directory(s, "a");
    make_directory(s, "a/b");
    put_text(s, "a/b/secret", "value");
    put_text(s, "beside", "value");
    uint64_t node = resolve(s, "a/b/secret").node;
    assert_ok(set(s, "a", "a.service", NULL));
    assert_ok(set(s, "a/b/secret", NULL, "/bin/a"));
    assert_true(store_is_ruled(s, node) && store_is_ruled(s, resolve(s, "a/b").node));
    assert_false(store_is_ruled(s, resolve(s, "beside").node));
    assert_true(allows(s, node, "a.service", "/bin/a"));
    assert_false(allows(s, node, "a.service", "/bin/b"));
    assert_false(allows(s, node, "b.service", "/bin/a"));
    assert_true(allows(s, resolve(s, "beside").node, "", ""));
    put_text(s, "a/b/new", "value");
    assert_false(allows(s, resolve(s, "a/b/new").node, "", ""));
    assert_ok(set(s, "", NULL, "/bin/a"));
    assert_false(allows(s, resolve(s, "beside").node, "", ""));
    assert_ok(set(s, "", NULL, NULL));
    assert_ok(store_begin(s));
    assert_ok(store_move(s, "a/b", "b"));
    assert_ok(store_commit(s));
    assert_true(allows(s, node, "b.service", "/bin/a"));
    assert_ok(store_begin(s));
    assert_ok(store_move(s, "b", "a/c"));
    assert_ok(store_commit(s));
    assert_false(allows(s, node, "b.service", "/bin/a"));
    store_close(s);
}

/* What is removed keeps its rules, and obeys them where it was. */
static void test_removed_and_purged(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);

    make_directory(s, "a");
    assert_ok(set(s, "a", "a.service", NULL));
    put_text(s, "a/x", "value");
    put_text(s, "a/y", "value");
    assert_ok(set(s, "a/x", NULL, "/bin/a"));
    uint64_t x = resolve(s, "a/x").node;
    remove_path(s, "a/x");
    assert_true(store_is_ruled(s, x));
    assert_false(allows(s, x, "b.service", "/bin/a"));
    assert_ok(store_begin(s));
    assert_ok(store_purge(s, "a/x"));
    assert_ok(store_commit(s));
    assert_ok(set(s, "a/y", NULL, "/bin/y"));
    assert_true(allows(s, resolve(s, "a/y").node, "a.service", "/bin/y"));
    remove_path(s, "a/y");
    remove_path(s, "a");
    assert_true(store_has_rules(s));
    assert_ok(store_begin(s));
    assert_ok(store_purge(s, "a"));
    assert_ok(store_commit(s));
    assert_false(store_has_rules(s));
    store_close(s);
}

static void test_a_follower_obeys(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct store_changes changes = STORE_CHANGES_INIT;
    char path[32];

    for (unsigned i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "secret%u", i);
        put_text(s, path, "value");
    }
    struct store *follower = open_store(f, STORE_FOLLOW);
    assert_ok(store_refresh(follower, NULL));
    for (unsigned i = 20; i-- > 0;) { /* the last one first */
        snprintf(path, sizeof path, "secret%u", i);
        assert_ok(set(s, path, NULL, path[6] % 2 ? "/bin/odd" : "/bin/even"));
        assert_ok(store_refresh(follower, &changes));
        assert_int_equal(changes.count, 1);
        assert_int_equal(changes.items[0].kinds, STORE_CHANGED_POLICY);
        store_changes_release(&changes);
        changes = (struct store_changes)STORE_CHANGES_INIT;
    }
    for (unsigned i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "secret%u", i);
        uint64_t node = resolve(follower, path).node;
        assert_true(allows(follower, node, "", path[6] % 2 ? "/bin/odd" : "/bin/even"));
        assert_false(allows(follower, node, "", path[6] % 2 ? "/bin/even" : "/bin/odd"));
        assert_ok(set(s, path, NULL, NULL));
        assert_ok(store_refresh(follower, NULL));
        assert_true(allows(follower, node, "", ""));
        assert_int_equal(store_has_rules(follower), i < 19);
    }
    store_close(follower);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_valid_texts),
        plain_test(test_lists_are_sorted),
        plain_test(test_lists_are_bounded),
        store_test(test_what_is_set_comes_back),
        store_test(test_errors),
        store_test(test_both_kinds_count),
        store_test(test_all_on_the_way_hold),
        store_test(test_removed_and_purged),
        store_test(test_a_follower_obeys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
