/*
 * The score against being killed for memory. Not every root may lower it: a file stands in for that
 * of this process, in a mount namespace of its own. Needs root.
 */
#include "helpers.h"
#include "oom.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int file; /* what is read and written as /proc/self/oom_score_adj */

static int stand_in(void **state)
{
    char path[] = "/tmp/oom-XXXXXX";
    (void)state;

    file = mkstemp(path);
    if (file < 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(path, "/proc/self/oom_score_adj", NULL, MS_BIND, NULL) != 0) {
        perror("a mount namespace, which needs root");
        return -1;
    }
    return unlink(path);
}

/* What becomes of a score that is written as the kernel writes it. */
static void assert_becomes(const char *before, int lowest, int highest, const char *after)
{
    char text[64] = "";

    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(pwrite(file, before, strlen(before), 0), strlen(before));
    oom_keep_within(lowest, highest);
    assert_true(pread(file, text, sizeof text - 1, 0) > 0);
    assert_memory_equal(text, after, strlen(after));
}

/* Of this very process, which anybody may raise. */
static void test_for_real(void **state)
{
    char text[16] = "";
    (void)state;

    oom_keep_within(700, OOM_HIGHEST);
    FILE *real = fopen("/proc/self/oom_score_adj", "re");
    assert_non_null(real);
    assert_non_null(fgets(text, sizeof text, real));
    fclose(real);
    assert_string_equal(text, "700\n");
}

static void test_lowered(void **state)
{
    (void)state;
    assert_becomes("0\n", OOM_LOWEST, OOM_SUPERVISOR, "0\n-900");
    assert_becomes("1000\n", OOM_LOWEST, OOM_SUPERVISOR, "1000\n-900");
}

static void test_raised(void **state)
{
    (void)state;
    assert_becomes("-900\n", OOM_WORKER, OOM_HIGHEST, "-900\n-500");
    assert_becomes("-1000\n", OOM_WORKER, OOM_HIGHEST, "-1000\n-500");
}

static void test_left_alone(void **state)
{
    (void)state;
    assert_becomes("-1000\n", OOM_LOWEST, OOM_SUPERVISOR, "-1000\n\0");
    assert_becomes("-900\n", OOM_LOWEST, OOM_SUPERVISOR, "-900\n\0");
    assert_becomes("0\n", OOM_WORKER, OOM_HIGHEST, "0\n\0");
    assert_becomes("-500\n", OOM_WORKER, OOM_HIGHEST, "-500\n\0");
}

int main(void)
{
    const struct CMUnitTest real[] = {cmocka_unit_test(test_for_real)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lowered),
        cmocka_unit_test(test_raised),
        cmocka_unit_test(test_left_alone),
    };
    return cmocka_run_group_tests(real, NULL, NULL) + cmocka_run_group_tests(tests, stand_in, NULL);
}
