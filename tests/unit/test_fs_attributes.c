/*
 * Which attributes the kernel is known to have.
 */
#include "attributes.h"
#include "helpers.h"

#include <stdlib.h>
#include <time.h>

static time_t now_s = 1000;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    (void)clock;
    *ret_time = (struct timespec){.tv_sec = now_s};
    return 0;
}

static int make(void **state)
{
    *state = calloc(1, sizeof(struct attributes));
    return *state ? 0 : -1;
}

static int release(void **state)
{
    free(*state);
    return 0;
}

static void test_given_and_dropped(void **state)
{
    struct attributes *a = *state;

    assert_false(attributes_held(a, 0));
    assert_false(attributes_held(a, 17));
    attributes_given(a, 17);
    assert_true(attributes_held(a, 17));
    assert_false(attributes_held(a, 18));
    attributes_dropped(a, 18);
    assert_true(attributes_held(a, 17));
    attributes_dropped(a, 17);
    assert_false(attributes_held(a, 17));
    attributes_given(a, 17);
    assert_true(attributes_held(a, 17));
}

static void test_for_a_day(void **state)
{
    struct attributes *a = *state;

    attributes_given(a, 17);
    now_s += ATTRIBUTES_VALID_S - 60;
    assert_true(attributes_held(a, 17));
    now_s += 60; /* the kernel's clock may be a little ahead */
    assert_false(attributes_held(a, 17));
}

/* There is room for one of those that share a place. */
static void test_the_last_one_is_known(void **state)
{
    struct attributes *a = *state;

    attributes_given(a, 17);
    attributes_given(a, 17 + ATTRIBUTES_SLOTS);
    assert_false(attributes_held(a, 17));
    assert_true(attributes_held(a, 17 + ATTRIBUTES_SLOTS));
    attributes_dropped(a, 17);
    assert_true(attributes_held(a, 17 + ATTRIBUTES_SLOTS));
}

/* What is given while the kernel evicts something it does not keep. */
static void test_evictions(void **state)
{
    struct attributes *a = *state;

    attributes_given(a, 17);
    now_s += 10;
    attributes_given(a, 18);
    now_s += 1;
    attributes_evicted(a);
    assert_true(attributes_held(a, 17));
    assert_false(attributes_held(a, 18));
    attributes_given(a, 18);
    assert_false(attributes_held(a, 18));
    now_s += 2;
    attributes_given(a, 18);
    assert_true(attributes_held(a, 18));
    now_s += ATTRIBUTES_SECONDS; /* the same bit */
    attributes_evicted(a);
    now_s += 5;
    attributes_given(a, 17);
    assert_true(attributes_held(a, 17));
    now_s += ATTRIBUTES_SECONDS - 5;
    attributes_given(a, 17);
    assert_false(attributes_held(a, 17)); /* until it is cleared */
    now_s += 5;
    attributes_evicted(a);
    now_s += 3;
    attributes_given(a, 17);
    assert_true(attributes_held(a, 17));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_given_and_dropped, make, release),
        cmocka_unit_test_setup_teardown(test_for_a_day, make, release),
        cmocka_unit_test_setup_teardown(test_the_last_one_is_known, make, release),
        cmocka_unit_test_setup_teardown(test_evictions, make, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
