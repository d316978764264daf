/*
 * What the fault tests do to a store: a small store, changes of it that each are one commit, and
 * which state of it a file is in.
 */
#ifndef TESTS_FAULT_SCENARIO_H
#define TESTS_FAULT_SCENARIO_H

#include "helpers.h"

/* A change of the store that trial_begin() makes; the errors are those of what it calls. */
struct scenario {
    const char *name;
    enum store_err (*change)(struct store *store); /* NULL: a rekey */
    bool compacts;                                 /* the log is emptied after the commit */
    bool with_log; /* the store has a log that nobody has folded into the file, as after kill -9 */
};

extern const struct scenario scenarios[];

/* A test for each of them, which calls run(fixture, scenario); and their entries in a list of
 * tests. */
#define SCENARIO_TEST(number, run)                   \
    static void test_scenario_##number(void **state) \
    {                                                \
        run(*state, &scenarios[number]);             \
    }
#define SCENARIO_TESTS(run) \
    SCENARIO_TEST(0, run)   \
    SCENARIO_TEST(1, run)   \
    SCENARIO_TEST(2, run)   \
    SCENARIO_TEST(3, run)   \
    SCENARIO_TEST(4, run)   \
    SCENARIO_TEST(5, run)   \
    SCENARIO_TEST(6, run)
#define SCENARIO_STORE_TESTS                                                                   \
    store_test(test_scenario_0), store_test(test_scenario_1), store_test(test_scenario_2),     \
        store_test(test_scenario_3), store_test(test_scenario_4), store_test(test_scenario_5), \
        store_test(test_scenario_6)

/* All that a store says of itself but times. */
#define STATE_BYTES 32
struct state {
    unsigned char hash[STATE_BYTES];
};

#define TRIAL_FILES 2

/* A scenario under way: the store's files before the change, and its states before and after. */
struct trial {
    struct fixture *fixture;
    const struct scenario *scenario;
    struct state before;
    struct state after;
    unsigned char *kept[TRIAL_FILES]; /* the file's and the log's; NULL: there is none */
    size_t kept_len[TRIAL_FILES];
};

/* Fill the fixture's store, which is empty, keep its files, and find out what the change makes of
 * it. */
void trial_begin(struct trial *trial, struct fixture *fixture, const struct scenario *scenario);
void trial_end(struct trial *trial);

/* Put the files back that trial_begin() kept. */
void trial_restore(const struct trial *trial);

/*
 * Open, unlock, load; change, commit, compact where the scenario does; both, and close.
 * out:    ret_acknowledged  store_commit() has returned STORE_OK
 * returns the first error of all that
 */
enum store_err trial_open(const struct trial *trial, struct store **ret_store);
enum store_err trial_change(const struct trial *trial, struct store *store, bool *ret_acknowledged);
enum store_err trial_run(const struct trial *trial, bool *ret_acknowledged);

/* Whether an open store is in that state; every value is read. */
bool trial_shows(struct store *store, const struct state *state);

/*
 * Open the store, verify all of it and say whether it is in its new state. Fails the test where it
 * is in neither, or can't be written any more.
 */
bool trial_is_after(const struct trial *trial);

/* The same, and fails where an acknowledged change is not there. */
void trial_check(const struct trial *trial, bool acknowledged);

#endif
