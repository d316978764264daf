/*
 * The line that tells how far long work is: what it says, and that it fits its terminal.
 */
#include "helpers.h"
#include "progress.h"

#include <string.h>

static void check_line(const char *expected, enum store_work work, uint64_t done, uint64_t total,
                       int64_t ms, unsigned columns)
{
    char line[PROGRESS_LINE_MAX] = "";
    assert_int_equal(progress_line(work, done, total, ms, columns, line), strlen(expected));
    assert_string_equal(line, expected);
}

static void test_what_it_says(void **state)
{
    (void)state;
    check_line("rekeying [#######.......................]  25%, 250 of 1000 rows, 125/s, 0:06 left",
               STORE_WORK_REKEY, 250, 1000, 2000, 100);
    check_line("loading [..............................]   0%, 1 of 2000000 rows, 1/s, "
               "555:33:19 left",
               STORE_WORK_LOAD, 1, 2000000, 1000, 120);
    check_line(
        "copying [###############...............]  50%, 4096 of 8192 pages, 2048/s, 0:02 left",
        STORE_WORK_COPY, 4096, 8192, 2000, 120);
}

static void test_nothing_is_known_yet(void **state)
{
    (void)state;
    check_line("", STORE_WORK_CHECK, 0, 100, 1000, 80);
    check_line("", STORE_WORK_CHECK, 0, 0, 1000, 80);
    check_line("", STORE_WORK_CHECK, 5, 100, 0, 80);
}

static void test_it_fits(void **state)
{
    (void)state;
    char line[PROGRESS_LINE_MAX];

    for (unsigned columns = 1; columns < PROGRESS_LINE_MAX; columns++) {
        size_t len =
            progress_line(STORE_WORK_REKEY, UINT64_MAX / 2, UINT64_MAX, 3600000, columns, line);
        assert_int_equal(len, strlen(line));
        assert_true(len < columns);
        len = progress_line(STORE_WORK_CHECK, 999999, 1000000, 5000, columns, line);
        assert_true(len < columns);
        assert_true(columns < 80 || strstr(line, "[#####"));
        assert_true(columns > 40 || !strchr(line, '['));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_what_it_says),
        plain_test(test_nothing_is_known_yet),
        plain_test(test_it_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
