/*
 * Modes as text, against the system's own chmod(1) on a file and a directory.
 */
#include "helpers.h"
#include "mode.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Both of this test's own; whatever the test's end, they go. */
static char file[] = "/tmp/secretfs-mode.XXXXXX";
static char directory[] = "/tmp/secretfs-mode.XXXXXX";

static int make_files(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    if (fd < 0 || mkdtemp(directory) == NULL)
        return -1;
    close(fd);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    umask(022);
    return unlink(file) | rmdir(directory);
}

/* Up to `max` of `letters`; returns their end. */
static char *random_of(uint64_t *random, const char *letters, size_t max, char *out)
{
    size_t len = next_random(random) % (max + 1);
    for (size_t i = 0; i < len; i++)
        *out++ = letters[next_random(random) % strlen(letters)];
    *out = '\0';
    return out;
}

/* By the grammar of chmod(1) in POSIX.1, less s and t. */
static void random_symbolic(uint64_t *random, char text[128])
{
    char *out = text;
    for (unsigned clauses = 1 + next_random(random) % 3; clauses > 0; clauses--) {
        if (out > text)
            *out++ = ',';
        out = random_of(random, "ugoa", 3, out);
        for (unsigned actions = 1 + next_random(random) % 2; actions > 0; actions--) {
            *out++ = "+-="[next_random(random) % 3];
            bool copies = next_random(random) % 4 == 0;
            out = random_of(random, copies ? "ugo" : "rwxX", copies ? 1 : 4, out);
        }
    }
}

static bool chmod_runs(const char *text, const char *path)
{
    char *argv[] = {(char *)"chmod", (char *)"--", (char *)text, (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawnp(&pid, "chmod", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(error, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) <= 1); /* 127: there is no chmod */
    return WEXITSTATUS(status) == 0;
}

/* What chmod(1) and mode_change() make of the same; true where `text` is valid. */
static bool compare(const char *text, uint16_t old, bool is_directory, mode_t mask)
{
    const char *path = is_directory ? directory : file;
    uint16_t mode = 0xffff;
    struct stat st;

    assert_int_equal(chmod(path, old), 0);
    umask(mask);
    bool valid = chmod_runs(text, path);
    umask(022);
    assert_int_equal(stat(path, &st), 0);
    bool taken = mode_change(text, old, is_directory, mask, &mode);
    if (taken != valid || mode != (valid ? (st.st_mode & 07777) : 0xffff))
        fail_msg("'%s' on %04o with umask %03o: %s %04o, chmod(1) %s %04o", text, old, mask,
                 taken ? "takes it," : "refuses it,", mode, valid ? "takes it," : "refuses it,",
                 st.st_mode & 07777u);
    return valid;
}

static const mode_t masks[] = {0, 022, 027, 077, 0777, 0137};

static void test_symbolic_like_chmod(void **state)
{
    (void)state;
    uint64_t random = 1;
    char text[128];

    for (int i = 0; i < 300; i++) {
        random_symbolic(&random, text);
        uint16_t old = (uint16_t)(next_random(&random) & 0777);
        mode_t mask = masks[next_random(&random) % (sizeof masks / sizeof masks[0])];
        assert_true(compare(text, old, i % 3 == 0, mask));
    }
}

/* Mostly no modes. */
static void test_any_text_like_chmod(void **state)
{
    (void)state;
    uint64_t random = 2;
    char text[128];
    int valid = 0;

    for (int i = 0; i < 120; i++) {
        random_of(&random, i % 2 ? "ugoarwxX+-=,==++" : "ua+=,rxy ", 6, text);
        valid += compare(text, 0640, i % 3 == 0, 027);
    }
    assert_in_range(valid, 10, 110);
}

static void test_octal_like_chmod(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",    "7",    "00",  "644",  "0644",    "777",
                                        "0777", "0000", "001", "8",    "9",       "08",
                                        "649",  "64 ",  "6x",  "644,", "644,u+x", "00000000000644"};
    char text[16];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        compare(texts[i], 0421, false, 022);
    for (unsigned mode = 0; mode <= 0777; mode += 37) {
        snprintf(text, sizeof text, "%o", mode);
        assert_true(compare(text, 0421, mode % 2, 022));
    }
}

static void test_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint16_t old;
        bool is_directory;
        mode_t mask;
        uint16_t expected;
    } known[] = {
        {"u+rw", 0000, false, 022, 0600},   {"u=rw,g=r,o=", 0777, false, 022, 0640},
        {"go-rwx", 0777, false, 022, 0700}, {"a+X", 0644, false, 022, 0644},
        {"a+X", 0744, false, 022, 0755},    {"a+X", 0644, true, 022, 0755},
        {"+w", 0444, false, 022, 0644},     {"=r", 0777, false, 077, 0400},
        {"-rwx", 0777, false, 027, 0027},   {"g=u", 0640, false, 022, 0660},
        {"o=g-w", 0760, false, 022, 0764},  {"u-x+w", 0700, false, 0, 0600},
        {"a=", 0777, false, 0, 0000},       {"u+x,g+X", 0600, false, 0, 0710},
        {"=", 0777, false, 0777, 0000},     {"+", 0123, false, 0, 0123},
        {"0640", 0777, true, 077, 0640},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint16_t mode = 0xffff;
        assert_true(
            mode_change(known[i].text, known[i].old, known[i].is_directory, known[i].mask, &mode));
        assert_int_equal(mode, known[i].expected);
    }
}

/* chmod(1) takes these; a secret has no use for them. */
static void test_less_than_chmod(void **state)
{
    (void)state;
    static const char *const texts[] = {"u+s",          "g+s",  "+t",   "a=rwxs", "1000", "4755",
                                        "777777777777", "7777", "+644", "u+rs",   "=0"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint16_t mode = 0xffff;
        assert_false(mode_change(texts[i], 0640, false, 022, &mode));
        assert_int_equal(mode, 0xffff);
    }
}

static void test_parse_octal(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    " ",     "8",           "1000",        "7777",
                                        "-1",  "+7",    "0x7",         "7 ",          " 7",
                                        "u+r", "07778", "40000000000", "200000000644"};
    uint16_t mode = 0xffff;
    char text[16];

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(mode_parse_octal(wrong[i], &mode));
        assert_int_equal(mode, 0xffff);
    }
    for (unsigned i = 0; i <= 0777; i++) {
        snprintf(text, sizeof text, i % 2 ? "%o" : "%04o", i);
        assert_true(mode_parse_octal(text, &mode));
        assert_int_equal(mode, i);
    }
}

static void test_print(void **state)
{
    (void)state;
    static const char letters[] = "rwxrwxrwx";
    char text[MODE_TEXT];
    char perm[MODE_PERM_TEXT];

    for (unsigned mode = 0; mode <= 0777; mode++) {
        mode_print((uint16_t)mode, text);
        assert_int_equal(strlen(text), 9);
        for (unsigned bit = 0; bit < 9; bit++)
            assert_int_equal(text[bit], mode & 0400u >> bit ? letters[bit] : '-');
    }
    mode_print(0754, text);
    assert_string_equal(text, "rwxr-xr--");
    mode_print_perm(5, perm);
    assert_string_equal(perm, "r-x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_symbolic_like_chmod),
        plain_test(test_any_text_like_chmod),
        plain_test(test_octal_like_chmod),
        plain_test(test_known),
        plain_test(test_less_than_chmod),
        plain_test(test_parse_octal),
        plain_test(test_print),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
