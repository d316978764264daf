/*
 * The command line of secretfs: every option, every refusal, and the one line that tells of it.
 */
#include "helpers.h"
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 12

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

/* Each line of the log has a second of its own, so that none is one too many. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    static time_t second;
    (void)clock;
    *ret_time = (struct timespec){.tv_sec = ++second};
    return 0;
}

/* One command line, and what came of it. The options point into `words`. */
struct run {
    char words[WORDS_MAX][512];
    char *argv[WORDS_MAX + 1];
    enum options_result result;
    struct options options;
    char out[4096];
    char err[2048];
};

static int redirect(FILE *stream, int to)
{
    fflush(stream);
    int saved = dup(fileno(stream));
    if (saved < 0 || dup2(to, fileno(stream)) < 0)
        return -1;
    return saved;
}

static void redirect_back(FILE *stream, int saved)
{
    fflush(stream);
    dup2(saved, fileno(stream));
    close(saved);
}

static void take(int fd, char *text, size_t room)
{
    ssize_t len = pread(fd, text, room - 1, 0);
    close(fd);
    assert_true(len >= 0);
    text[len] = '\0';
}

static void run(struct run *r, const char *const words[])
{
    int out = memfd_create("out", MFD_CLOEXEC);
    int err = memfd_create("err", MFD_CLOEXEC);
    int argc = 0;

    assert_true(out >= 0 && err >= 0);
    memset(r, 0, sizeof *r);
    for (; words[argc]; argc++) {
        assert_true(argc < WORDS_MAX);
        assert_true(strlen(words[argc]) < sizeof r->words[0]);
        strcpy(r->words[argc], words[argc]);
        r->argv[argc] = r->words[argc];
    }
    r->options.workers = 4711;
    optind = 0; /* glibc: begin anew */
    int saved_out = redirect(stdout, out);
    int saved_err = redirect(stderr, err);
    r->result = options_parse(argc, r->argv, &r->options);
    redirect_back(stderr, saved_err);
    redirect_back(stdout, saved_out);
    take(out, r->out, sizeof r->out);
    take(err, r->err, sizeof r->err);
}

#define RUN(r, ...) run((r), (const char *const[]){"secretfs", __VA_ARGS__, NULL})
#define RUN_HELPER(r, ...) \
    run((r), (const char *const[]){"/sbin/mount.fuse.secretfs", __VA_ARGS__, NULL})

/* Refused: `message`, in one line, nothing on standard output, and no options. */
static void check_bad(const struct run *r, const char *message)
{
    char line[1024];
    snprintf(line, sizeof line, "secretfs: %s; see 'secretfs --help'\n", message);
    assert_string_equal(r->err, line);
    assert_int_equal(r->result, OPTIONS_BAD);
    assert_string_equal(r->out, "");
    assert_int_equal(r->options.workers, 4711);
}

#define assert_bad(message, ...) \
    do {                         \
        struct run r_;           \
        RUN(&r_, __VA_ARGS__);   \
        check_bad(&r_, message); \
    } while (0)

static void assert_run(const struct run *r)
{
    assert_string_equal(r->err, "");
    assert_string_equal(r->out, "");
    assert_int_equal(r->result, OPTIONS_RUN);
    assert_string_equal(r->options.store, "store.db");
    assert_string_equal(r->options.mountpoint, "/mnt/point");
}

static void assert_defaults(const struct options *o)
{
    assert_null(o->anchor);
    assert_null(o->key_file);
    assert_null(o->identity);
    assert_null(o->unlock_command);
    assert_null(o->subdir);
    assert_int_equal(o->passphrase_fd, -1);
    assert_int_equal(o->workers, 3);
    assert_false(o->direct_io);
    assert_false(o->allow_other);
    assert_false(o->allow_swap);
    assert_false(o->debug);
}

/* `list` as the argument of -o. */
static struct options parse_list(const char *list)
{
    static struct run r;
    RUN(&r, "-o", list, "store.db", "/mnt/point");
    assert_run(&r);
    return r.options;
}

static void test_defaults(void **state)
{
    (void)state;
    struct run r;
    RUN(&r, "store.db", "/mnt/point");
    assert_run(&r);
    assert_defaults(&r.options);
    RUN(&r, "-f", "store.db", "/mnt/point");
    assert_run(&r);
    assert_defaults(&r.options);
    struct options o = parse_list("");
    assert_defaults(&o);
}

static void test_every_option(void **state)
{
    (void)state;
    struct options o = parse_list("key_file=/etc/the=key");
    assert_string_equal(o.key_file, "/etc/the=key");
    o.key_file = NULL;
    o.identity = parse_list("identity=/etc/id").identity;
    assert_string_equal(o.identity, "/etc/id");
    o.identity = NULL;
    o.unlock_command = parse_list("unlock_command=/bin/key=x").unlock_command;
    assert_string_equal(o.unlock_command, "/bin/key=x");
    o.unlock_command = NULL;
    assert_defaults(&o);
    o = parse_list("anchor=/mnt/anchors");
    assert_string_equal(o.anchor, "/mnt/anchors");
    o.anchor = NULL;
    assert_defaults(&o);
    o = parse_list("passphrase_fd=0");
    assert_int_equal(o.passphrase_fd, 0);
    o.passphrase_fd = -1;
    assert_defaults(&o);
    assert_int_equal(parse_list("passphrase_fd=1048576").passphrase_fd, 1048576);
    o = parse_list("subdir=web/tls");
    assert_string_equal(o.subdir, "web/tls");
    o.subdir = NULL;
    assert_defaults(&o);
    o = parse_list("user=daemon");
    assert_string_equal(o.user, "daemon");
    assert_int_equal(o.uid, 1);
    assert_int_equal(o.gid, 1);
    assert_int_equal(parse_list("user=1").gid, 1);
    o = parse_list("workers=1");
    assert_int_equal(o.workers, 1);
    o.workers = 3;
    assert_defaults(&o);
    assert_int_equal(parse_list("workers=16").workers, OPTIONS_WORKERS_MAX);
    o = parse_list("direct_io");
    assert_true(o.direct_io);
    o.direct_io = false;
    assert_defaults(&o);
    o = parse_list("allow_other");
    assert_true(o.allow_other);
    o.allow_other = false;
    assert_defaults(&o);
    o = parse_list("allow_swap");
    assert_true(o.allow_swap);
    o.allow_swap = false;
    assert_defaults(&o);
    o = parse_list("debug");
    assert_true(o.debug);
    o.debug = false;
    assert_defaults(&o);
}

static void check_all(const struct run *r)
{
    assert_run(r);
    assert_string_equal(r->options.key_file, "k");
    assert_string_equal(r->options.subdir, "s");
    assert_int_equal(r->options.workers, 7);
    assert_int_equal(r->options.passphrase_fd, -1);
    assert_true(r->options.direct_io && r->options.allow_swap && r->options.debug);
    assert_true(r->options.allow_other);
}

/* All together, in one list or several, before the operands or, as mount(8) does, behind them. */
static void test_together(void **state)
{
    (void)state;
    struct run r;
    RUN(&r, "-o", "key_file=k,subdir=s,workers=7,direct_io,allow_other,allow_swap,debug",
        "store.db", "/mnt/point");
    check_all(&r);
    RUN(&r, "store.db", "/mnt/point", "-o",
        "ro,debug,allow_swap,allow_other,direct_io,workers=7,subdir=s,key_file=k,nofail");
    check_all(&r);
    RUN(&r, "-okey_file=k,debug", "store.db", "-fo", "subdir=s,workers=2,direct_io", "/mnt/point",
        "-o", "allow_swap,allow_other", "-oworkers=7"); /* the last one counts */
    check_all(&r);
    RUN(&r, "-o", "debug", "--", "-o", "debug");
    assert_string_equal(r.options.store, "-o");
    assert_string_equal(r.options.mountpoint, "debug");
}

static void test_words_of_fstab(void **state)
{
    (void)state;
    static const char *const words[] = {
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "auto",
        "noauto",
        "user",
        "users",
        "nouser",
        "nofail",
        "_netdev",
        "relatime",
        "strictatime",
        "nodiratime",
        "lazytime",
        "async",
        "owner",
        "group",
        "defaults",
        "default_permissions",
        "x-systemd.automount",
        "x-systemd.requires=network.target",
        "x-",
    };
    char all[512] = "";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct options o = parse_list(words[i]);
        assert_defaults(&o);
        strcat(strcat(all, words[i]), ",");
    }
    strcat(all, "debug");
    struct options o = parse_list(all);
    assert_true(o.debug);
    o.debug = false;
    assert_defaults(&o);
}

static void test_unknown(void **state)
{
    (void)state;
    static const char *const unknown[] = {"nope",      "nope=1",     "rox",   "KEY_FILE=k",
                                          "keyfile=k", "workers2=1", "xdebug"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        char message[128];
        snprintf(message, sizeof message, "unknown option '%s'", unknown[i]);
        assert_bad(message, "-o", unknown[i], "store.db", "/mnt/point");
    }
    assert_bad("unknown option 'nope'", "-o", "debug,nope,ro", "store.db", "/mnt/point");
    assert_bad("unknown option '-x'", "-x", "store.db", "/mnt/point");
    assert_bad("unknown option '--nope'", "--nope", "store.db", "/mnt/point");
    assert_bad("unknown option '--help=x'", "--help=x");
}

static void test_bad_values(void **state)
{
    (void)state;
    static const char *const numbers[][2] = {
        {"workers", "0"},
        {"workers", "17"},
        {"workers", "-1"},
        {"workers", "3x"},
        {"workers", "x"},
        {"workers", "0x3"},
        {"workers", "3.0"},
        {"workers", "99999999999999999999"},
        {"workers", "4294967299"},
        {"passphrase_fd", "-1"},
        {"passphrase_fd", "1048577"},
        {"passphrase_fd", "stdin"},
        {"passphrase_fd", "4294967296"},
        {"user", "no-such-user"},
        {"user", "4294967295"},
        {"user", "987654321"},
    };
    static const char *const need[] = {"anchor",        "key_file", "identity", "unlock_command",
                                       "passphrase_fd", "subdir",   "workers"};
    static const char *const take_none[] = {"direct_io", "allow_other", "allow_swap", "debug"};
    char option[128];
    char message[160];

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        snprintf(option, sizeof option, "%s=%s", numbers[i][0], numbers[i][1]);
        snprintf(message, sizeof message, "option '%s' can't be '%s'", numbers[i][0],
                 numbers[i][1]);
        assert_bad(message, "-o", option, "store.db", "/mnt/point");
    }
    for (size_t i = 0; i < sizeof need / sizeof need[0]; i++) {
        snprintf(message, sizeof message, "option '%s' needs a value", need[i]);
        assert_bad(message, "-o", need[i], "store.db", "/mnt/point");
        snprintf(option, sizeof option, "debug,%s=,ro", need[i]);
        assert_bad(message, "-o", option, "store.db", "/mnt/point");
    }
    for (size_t i = 0; i < sizeof take_none / sizeof take_none[0]; i++) {
        snprintf(option, sizeof option, "%s=1", take_none[i]);
        snprintf(message, sizeof message, "option '%s' takes no value", take_none[i]);
        assert_bad(message, "-o", option, "store.db", "/mnt/point");
    }
    assert_bad("option '-o' needs a value", "store.db", "/mnt/point", "-o");
}

static void test_operands(void **state)
{
    (void)state;
    static const char message[] = "a store and a mount point are needed";
    assert_bad(message, "-f");
    assert_bad(message, "store.db");
    assert_bad(message, "store.db", "/mnt/point", "more");
    assert_bad(message, "-o", "debug", "store.db");
    struct run r;
    run(&r, (const char *const[]){"secretfs", NULL});
    check_bad(&r, message);
}

static void test_conflict(void **state)
{
    (void)state;
    static const char message[] = "options 'key_file', 'passphrase_fd', 'identity' and "
                                  "'unlock_command' exclude each other";
    assert_bad(message, "-o", "key_file=k,passphrase_fd=0", "store.db", "/mnt/point");
    assert_bad(message, "-o", "key_file=k,identity=i", "store.db", "/mnt/point");
    assert_bad(message, "-o", "unlock_command=/c,identity=i", "store.db", "/mnt/point");
    assert_bad(message, "-o", "unlock_command=/c,passphrase_fd=0", "store.db", "/mnt/point");
    assert_bad(message, "-o", "passphrase_fd=3", "store.db", "/mnt/point", "-o", "key_file=k");
}

static void test_help_and_version(void **state)
{
    (void)state;
    static const char *const told[] = {
        "usage: secretfs ", "-f ",
        "-o OPTIONS ",      "-h, --help ",
        "-V, --version ",   "key_file=FILE ",
        "passphrase_fd=N ", "subdir=PATH ",
        "workers=N ",       "(default 3)",
        "direct_io ",       "allow_other ",
        "allow_swap ",      "debug ",
    };
    static const char *const help[] = {"-h", "--help", "--he"};
    static const char *const version[] = {"-V", "--version"};
    struct run r;

    for (size_t i = 0; i < sizeof help / sizeof help[0]; i++) {
        RUN(&r, help[i]);
        assert_int_equal(r.result, OPTIONS_DONE);
        assert_string_equal(r.err, "");
        for (size_t w = 0; w < sizeof told / sizeof told[0]; w++)
            assert_non_null(strstr(r.out, told[w]));
    }
    for (size_t i = 0; i < sizeof version / sizeof version[0]; i++) {
        RUN(&r, version[i]);
        assert_int_equal(r.result, OPTIONS_DONE);
        assert_string_equal(r.err, "");
        assert_string_equal(r.out, "secretfs " SECRETFS_VERSION "\n");
    }
    RUN(&r, "-o", "debug", "store.db", "--help"); /* no operand is missed then */
    assert_int_equal(r.result, OPTIONS_DONE);
}

/* As mount(8) starts its helpers. */
static void test_helper(void **state)
{
    (void)state;
    struct run r;

    RUN_HELPER(&r, "store.db", "/mnt", "-n", "-v", "-s", "-t", "fuse.secretfs", "-o", "rw,debug");
    assert_int_equal(r.result, OPTIONS_RUN);
    assert_string_equal(r.err, "");
    assert_true(r.options.background && r.options.debug);
    assert_string_equal(r.options.store, "store.db");
    assert_string_equal(r.options.mountpoint, "/mnt");
    RUN_HELPER(&r, "store.db", "/mnt", "-f");
    assert_int_equal(r.result, OPTIONS_DONE);
    RUN_HELPER(&r, "store.db", "-f");
    check_bad(&r, "a store and a mount point are needed");
    RUN_HELPER(&r, "store.db", "/mnt", "-V");
    check_bad(&r, "unknown option '-V'");
    RUN_HELPER(&r, "store.db", "/mnt", "-N", "/proc/1/ns/mnt");
    assert_int_equal(r.result, OPTIONS_BAD);
    assert_string_equal(r.err, "secretfs: cannot mount in another namespace; start secretfs there, "
                               "see nsenter(1)\n");
    RUN(&r, "-f", "store.db", "/mnt");
    assert_int_equal(r.result, OPTIONS_RUN);
    assert_false(r.options.background);
    RUN(&r, "-n", "store.db", "/mnt");
    check_bad(&r, "unknown option '-n'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_defaults),         plain_test(test_every_option),
        plain_test(test_together),         plain_test(test_words_of_fstab),
        plain_test(test_unknown),          plain_test(test_bad_values),
        plain_test(test_operands),         plain_test(test_conflict),
        plain_test(test_help_and_version), plain_test(test_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
