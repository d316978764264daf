/*
 * Every operation on the disk fails, each in turn, once and for good, with EIO and with ENOSPC, in
 * each change of a store: the error is the right one, what was acknowledged is there, and nothing
 * else is lost.
 */
#include "changes.h"
#include "disk.h"
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_code(const char *name, enum store_err err, const struct disk_fault *fault)
{
    enum store_err expected = fault->sys_errno == ENOSPC ? STORE_ERR_NO_SPACE : STORE_ERR_IO;
    if (err == STORE_OK || err == expected)
        return;
    fail_msg("%s: operation %zu of %#x fails with errno %d%s: '%s' (errno %d, sqlite %d)", name,
             fault->number, fault->operations, fault->sys_errno, fault->for_good ? " for good" : "",
             store_strerror(err), store_fault()->sys_errno, store_fault()->sqlite_code);
}

/* How often the change failed, and how often its fault came without anybody being told. */
static size_t refused;
static size_t unnoticed;

static void fail_each(const struct trial *trial, struct disk_fault fault)
{
    for (fault.number = 1;; fault.number++) {
        bool acknowledged = false;
        trial_restore(trial);
        disk_start(fault);
        enum store_err err = trial_run(trial, &acknowledged);
        disk_stop();
        if (!disk_has_failed()) {
            assert_ok(err);
            break;
        }
        check_code(trial->scenario->name, err, &fault);
        trial_check(trial, acknowledged);
        err ? refused++ : unnoticed++;
    }
    assert_true(fault.number > 1);
}

static void fail_scenario(struct fixture *f, const struct scenario *scenario)
{
    struct trial trial;

    trial_begin(&trial, f, scenario);
    for (int for_good = 0; for_good < 2; for_good++) {
        fail_each(&trial, (struct disk_fault){DISK_ANY, 0, EIO, for_good});
        fail_each(&trial, (struct disk_fault){DISK_CHANGES | DISK_SHARE, 0, ENOSPC, for_good});
    }
    trial_end(&trial);
}

SCENARIO_TESTS(fail_scenario)

/* Follow a commit of somebody else's while each operation fails once: the next time is right. */
static bool follow_once(const struct trial *trial, struct disk_fault fault)
{
    bool acknowledged = false;
    struct store *s = NULL;

    trial_restore(trial);
    assert_ok(trial_open(trial, &s));
    assert_ok(trial_run(trial, &acknowledged));
    disk_start(fault);
    enum store_err err = store_refresh(s, NULL);
    disk_stop();
    check_code("follow", err, &fault);
    if (err)
        assert_true(trial_shows(s, &trial->before));
    assert_ok(store_refresh(s, NULL));
    assert_true(trial_shows(s, &trial->after));
    store_close(s);
    err ? refused++ : unnoticed++;
    return disk_has_failed();
}

static void test_follow(void **state)
{
    struct trial trial;
    struct disk_fault fault = {DISK_ANY, 0, EIO, false};

    trial_begin(&trial, *state, &scenarios[1]);
    do
        fault.number++;
    while (follow_once(&trial, fault));
    assert_true(fault.number > 3);
    trial_end(&trial);
}

/* The same process goes on after an operation that failed once. */
static void test_again(void **state)
{
    struct trial trial;
    struct disk_fault fault = {DISK_ANY, 0, EIO, false};

    trial_begin(&trial, *state, &scenarios[1]);
    do {
        bool acknowledged = false;
        struct store *s = NULL;
        fault.number++;
        trial_restore(&trial);
        assert_ok(trial_open(&trial, &s));
        disk_start(fault);
        enum store_err err = trial_change(&trial, s, &acknowledged);
        disk_stop();
        check_code("again", err, &fault);
        if (err)
            assert_ok(trial_change(&trial, s, &acknowledged));
        store_close(s);
        trial_check(&trial, acknowledged);
    } while (disk_has_failed());
    assert_true(fault.number > 10);
    trial_end(&trial);
}

/* A store that could not be made leaves no file. */
static void test_create(void **state)
{
    static const char *const left[] = {"", "-wal", "-shm", "-journal"};
    const struct fixture *f = *state;
    struct disk_fault fault = {DISK_ANY, 0, EIO, false};
    char path[128];

    for (int for_good = 0; for_good < 2; for_good++) {
        fault.for_good = for_good;
        for (fault.number = 1;; fault.number++) {
            snprintf(path, sizeof path, "%s/made.db", f->folder);
            disk_start(fault);
            enum store_err err = store_create(path, &f->credential);
            disk_stop();
            check_code("create", err, &fault);
            if (!err)
                unlink(path);
            for (size_t i = 0; i < 4; i++) {
                snprintf(path, sizeof path, "%s/made.db%s", f->folder, left[i]);
                if (err && access(path, F_OK) == 0)
                    fail_msg("%s is left, after operation %zu failed", path, fault.number);
                unlink(path);
            }
            if (!disk_has_failed())
                break;
        }
    }
}

static void test_totals(void **state)
{
    (void)state;
    print_message("%zu faults refused a change, %zu were none to it\n", refused, unnoticed);
    assert_true(refused > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENARIO_STORE_TESTS,    store_test(test_follow), store_test(test_again),
        store_test(test_create), plain_test(test_totals),
    };
    disk_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
