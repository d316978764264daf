/*
 * Lines of the log: their form, and how many there may be. clock_gettime() is replaced, so that a
 * second lasts as long as the test wants.
 */
#include "helpers.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static time_t second = 100;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    (void)clock;
    *ret_time = (struct timespec){.tv_sec = second};
    return 0;
}

/* Standard error into a file from here on; a second without lines before has begun. */
static int begin(int *ret_saved)
{
    int file = memfd_create("err", MFD_CLOEXEC);

    second += 10;
    fflush(stderr);
    *ret_saved = dup(STDERR_FILENO);
    assert_true(file >= 0 && *ret_saved >= 0 && dup2(file, STDERR_FILENO) >= 0);
    return file;
}

/* What was written meanwhile; the caller frees it. */
static char *written(int file, int saved)
{
    struct stat st;
    assert_int_equal(fstat(file, &st), 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(pread(file, text, (size_t)st.st_size, 0), st.st_size);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    return text;
}

static void test_lines_for_people(void **state)
{
    int saved;
    int file = begin(&saved);
    (void)state;

    log_error("cannot %s", "go");
    log_warning("b");
    log_line("c");
    log_debug("d");
    log_system_error("open", "x", ENOENT);
    char *text = written(file, saved);
    assert_string_equal(text, "secretfs: cannot go\nsecretfs: b\nsecretfs: c\nsecretfs: d\n"
                              "secretfs: cannot open 'x': No such file or directory\n");
    free(text);
}

static void test_lines_with_levels(void **state)
{
    int saved;
    int file = begin(&saved);
    (void)state;

    assert_false(log_has_levels());
    log_set_levels(true);
    assert_true(log_has_levels());
    log_error("a");
    log_warning("b");
    log_line("c");
    log_debug("d");
    log_set_levels(false);
    char *text = written(file, saved);
    assert_string_equal(text, "<3>a\n<4>b\n<6>c\n<7>d\n");
    free(text);
}

static void test_a_line_is_one_line(void **state)
{
    char longer[5000];
    int saved;
    int file = begin(&saved);
    (void)state;

    log_line("a\n<0>b\033[1m\x7f \xc3\xa9");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    log_line("%s", longer);
    char *text = written(file, saved);
    assert_memory_equal(text, "secretfs: a?<0>b?[1m? \xc3\xa9\nsecretfs: xxx", 37);
    assert_ptr_equal(strchr(strchr(text, '\n') + 1, '\n'), text + strlen(text) - 1);
    assert_true(strlen(text) < 1100);
    free(text);
}

static size_t count(const char *text, const char *part)
{
    size_t found = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        found++;
    return found;
}

static void test_a_flood_is_cut_and_counted(void **state)
{
    int saved;
    int file = begin(&saved);
    (void)state;

    for (int i = 0; i < 1000; i++)
        log_error("first %d", i);
    second++;
    for (int i = 0; i < 10; i++)
        log_error("second");
    for (int i = 0; i < 100; i++)
        log_debug("asked for");
    second++;
    log_error("third");
    char *text = written(file, saved);
    assert_int_equal(count(text, "first"), 20);
    assert_non_null(strstr(text, "secretfs: first 19\n"
                                 "secretfs: 980 lines were left out here\n"
                                 "secretfs: second\n"));
    assert_int_equal(count(text, "second"), 10);
    assert_int_equal(count(text, "asked for"), 100);
    assert_int_equal(count(text, "left out"), 1);
    assert_int_equal(count(text, "third"), 1);
    free(text);
}

static void test_the_journal_is_known_by_its_numbers(void **state)
{
    char stream[64];
    struct stat st;
    int saved;
    int file = begin(&saved);
    (void)state;

    assert_int_equal(fstat(file, &st), 0);
    unsetenv("JOURNAL_STREAM");
    bool without = log_is_journal();
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    bool same = log_is_journal();
    strcat(stream, "x");
    setenv("JOURNAL_STREAM", stream, 1);
    bool more = log_is_journal();
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    bool other = log_is_journal();
    unsetenv("JOURNAL_STREAM");
    free(written(file, saved));
    assert_true(same);
    assert_false(without || more || other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_for_people),
        cmocka_unit_test(test_lines_with_levels),
        cmocka_unit_test(test_a_line_is_one_line),
        cmocka_unit_test(test_a_flood_is_cut_and_counted),
        cmocka_unit_test(test_the_journal_is_known_by_its_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
