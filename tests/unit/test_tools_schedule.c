/*
 * When a rotation is due: counted from the version that is current, at any time of the clock.
 */
#include "helpers.h"

#include "schedule.h"

#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

static struct timespec clock_now;

int __wrap_clock_gettime(clockid_t id, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_now)
{
    assert_int_equal(id, CLOCK_REALTIME);
    *ret_now = clock_now;
    return 0;
}

/* Two versions, of the seconds 100 and 200. */
static struct store_details details_of(uint64_t current, uint64_t every_s)
{
    struct store_details d = {
        .current = current,
        .version_count = 2,
        .rotation = {.every_s = every_s},
        .versions = {{.id = 20, .number = 1, .created_ns = 100LL * NS_PER_S},
                     {.id = 21, .number = 2, .created_ns = 200LL * NS_PER_S}},
    };
    return d;
}

static struct schedule schedule_at(const struct store_details *d, time_t seconds, long ns)
{
    clock_now = (struct timespec){.tv_sec = seconds, .tv_nsec = ns};
    return schedule_of(d);
}

static void test_due(void **state)
{
    (void)state;
    struct store_details newest = details_of(21, 60);
    struct store_details older = details_of(20, 60);

    assert_int_equal(schedule_at(&newest, 210, 0).rotated_ns, 200LL * NS_PER_S);
    assert_int_equal(schedule_at(&newest, 210, 0).due_ns, 260LL * NS_PER_S);
    assert_false(schedule_at(&newest, 210, 0).overdue);
    assert_false(schedule_at(&newest, 259, 999999999).overdue);
    assert_true(schedule_at(&newest, 260, 0).overdue);
    assert_true(schedule_at(&newest, 1000, 0).overdue);
    assert_false(schedule_at(&newest, 0, 0).overdue); /* a clock that was set back */
    assert_int_equal(schedule_at(&older, 210, 0).due_ns, 160LL * NS_PER_S);
    assert_true(schedule_at(&older, 210, 0).overdue);
}

static void test_never_due(void **state)
{
    (void)state;
    struct store_details none = details_of(21, 0);
    struct store_details far = details_of(21, STORE_ROTATION_MAX_S);
    struct schedule schedule = schedule_at(&none, 1000000, 0);

    assert_false(schedule.overdue);
    assert_false(schedule_set(&schedule));
    strcpy(none.rotation.generator, "uuid");
    schedule = schedule_at(&none, 1000000, 0);
    assert_false(schedule.overdue);
    assert_true(schedule_set(&schedule));
    far.versions[1].created_ns = INT64_MAX - 1;
    schedule = schedule_at(&far, 1000000, 0);
    assert_int_equal(schedule.due_ns, INT64_MAX);
    assert_false(schedule.overdue);
    assert_true(schedule_set(&schedule));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_due),
        plain_test(test_never_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
