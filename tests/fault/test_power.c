/*
 * The power goes at every operation that changes the disk, in each change of a store, and what was
 * not synced is lost, torn and reordered: the store opens, whole, in its old or its new state, and
 * what was acknowledged is there.
 */
#include "disk.h"
#include "media.h"
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t seeds = 4;
static size_t cuts;
static size_t survived;

static void cut_scenario(struct fixture *f, const struct scenario *scenario)
{
    struct trial trial;
    struct disk_fault fault = {DISK_CHANGES, 0, 0, true};

    trial_begin(&trial, f, scenario);
    do {
        bool acknowledged = false;
        fault.number++;
        trial_restore(&trial);
        disk_start(fault);
        enum store_err err = trial_run(&trial, &acknowledged);
        disk_stop();
        if (!disk_has_failed())
            assert_ok(err);
        for (uint64_t seed = 0; seed < seeds; seed++) {
            trial_restore(&trial);
            media_cut(seed);
            bool is_after = trial_is_after(&trial);
            if (acknowledged && !is_after)
                fail_msg("%s: acknowledged, and lost by a power cut at operation %zu, seed %llu",
                         scenario->name, fault.number, (unsigned long long)seed);
            cuts++;
            survived += is_after;
        }
    } while (disk_has_failed()); /* the last time right after everything */
    print_message("%s: %zu operations\n", scenario->name, fault.number - 1);
    assert_true(fault.number > 10);
    trial_end(&trial);
}

SCENARIO_TESTS(cut_scenario)

static void test_totals(void **state)
{
    (void)state;
    print_message("%zu power cuts, after %zu of which the change was there\n", cuts, survived);
    assert_true(survived > 0 && survived < cuts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENARIO_STORE_TESTS,
        plain_test(test_totals),
    };
    const char *wanted = getenv("SECRETFS_SEEDS");
    if (wanted)
        seeds = strtoull(wanted, NULL, 10);
    disk_install();
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    media_reset();
    return failures;
}
