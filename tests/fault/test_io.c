/*
 * Every operation on the disk fails, each in turn, once and for good, with EIO and with ENOSPC, in
 * each change of a store: the error is the right one, what was acknowledged is there, and nothing
 * else is lost.
 */
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

#define SCENARIO_TEST(number)                        \
    static void test_scenario_##number(void **state) \
    {                                                \
        fail_scenario(*state, &scenarios[number]);   \
    }
SCENARIO_TEST(0)
SCENARIO_TEST(1)
SCENARIO_TEST(2)
SCENARIO_TEST(3)
SCENARIO_TEST(4)
SCENARIO_TEST(5)

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
        store_test(test_scenario_0), store_test(test_scenario_1), store_test(test_scenario_2),
        store_test(test_scenario_3), store_test(test_scenario_4), store_test(test_scenario_5),
        store_test(test_create),     plain_test(test_totals),
    };
    disk_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
