/*
 * The record: its lines and its chain, several that append at once, what a killed one leaves, and
 * that whatever was changed in it afterwards is found.
 */
#include "audit.h"
#include "audit_line.h"
#include "audit_verify.h"
#include "helpers.h"
#include "state.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

static const struct audit_entry an_open = {
    .event = AUDIT_OPEN,
    .path = "db/password",
    .version = 3,
    .who = {.uid = 1000, .gid = 1000, .pid = 4242, .executable = "/usr/bin/cat"},
};

static const char *record_path(const struct fixture *f, const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->folder, name);
    return path;
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static struct audit_log *open_log(struct store *s, const char *path, const struct audit_head *known)
{
    struct audit_log *log = NULL;
    assert_ok(audit_log_new(s, open_file(path), known, &log));
    return log;
}

static void append_many(struct audit_log *log, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_ok(audit_append(log, &an_open, NULL, NULL));
}

/* The whole file, in memory of the caller's. */
static char *slurp(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *text = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = '\0';
    *ret_len = (size_t)st.st_size;
    close(fd);
    return text;
}

static void spill(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void append_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* With an end that somebody knows, or NULL. */
static struct audit_report verify_up_to(struct store *s, const char *path, const char *next,
                                        const struct audit_head *end)
{
    struct audit_report report;
    int fds[2] = {open(path, O_RDONLY), next ? open(next, O_RDONLY) : -1};
    const struct audit_evidence evidence = {fds, next ? 2 : 1, end, end != NULL};

    assert_true(fds[0] >= 0);
    assert_ok(audit_verify(s, &evidence, &report));
    close(fds[0]);
    if (next)
        close(fds[1]);
    return report;
}

static struct audit_report verify(struct store *s, const char *path, const char *next)
{
    return verify_up_to(s, path, next, NULL);
}

static void assert_right(struct store *s, const char *path, uint64_t lines)
{
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, lines);
}

/* ---- Lines --------------------------------------------------------------- */

static struct seal_keys vector_keys(void)
{
    struct seal_keys keys = {.keys = SECBUF_INIT};
    size_t len;
    const unsigned char *root = vector("root_key", &len);
    struct secbuf root_key = secret_of(root, len);
    assert_ok(seal_keys_derive(&keys, &root_key, vector("uuid", &len)));
    secbuf_release(&root_key);
    return keys;
}

static void assert_line(const struct seal_keys *keys, struct audit_head *head,
                        const struct audit_entry *entry, const char *name)
{
    struct audit_clock clock = {0};
    unsigned char chain[AUDIT_HASH_BYTES];
    char line[AUDIT_LINE_MAX];
    size_t expected_len;
    const unsigned char *expected = vector(name, &expected_len);

    size_t len = audit_line_write(keys, head, &clock, entry, line, chain);
    assert_int_equal(len, expected_len);
    assert_memory_equal(line, expected, len);
    audit_head_fold(head, line, len - 1);
}

static void test_known_lines(void **state)
{
    struct seal_keys keys = vector_keys();
    struct audit_head head = {0};
    struct audit_head stale;
    struct audit_entry entry = an_open;
    size_t len;
    (void)state;

    entry.time_ns = 1795544431 * SECOND_NS + 123456789;
    assert_line(&keys, &head, &entry, "audit_line_1");
    stale = head;
    entry.path = "a \"b\"\\\x01\xff\xc3\xa9";
    entry.version = 0;
    entry.who = (struct audit_actor){UINT32_MAX,  UINT32_MAX,     0,           NULL,
                                     "x.service", "0123456789ab", .sudo = true};
    entry.result = "EACCES";
    entry.detail = "mode 0400 -> 0440";
    entry.count = 7;
    entry.inferred = true;
    assert_line(&keys, &head, &entry, "audit_line_2");
    /* One whose writer had not seen the second, and a piece. */
    entry = an_open;
    entry.time_ns = 1795544432 * SECOND_NS;
    assert_line(&keys, &stale, &entry, "audit_line_late");
    const unsigned char *late = vector("audit_line_late", &len);
    audit_head_fold(&head, (const char *)late, len - 1);
    audit_head_fold(&head, "{\"time\":\"20", 11);
    audit_head_fold(&head, "", 0);
    assert_int_equal(head.number, 4);
    assert_memory_equal(head.hash, vector("audit_state", &len), sizeof head.hash);
    seal_keys_release(&keys);
}

static void test_what_is_no_line(void **state)
{
    size_t len;
    const unsigned char *bytes = vector("audit_line_1", &len);
    char line[1024];
    struct audit_link link;
    (void)state;

    len--;
    memcpy(line, bytes, len);
    assert_true(audit_line_parse(line, len, &link));
    assert_int_equal(link.sequence, 1);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(audit_line_parse(line, cut, &link));
    memcpy(line + len, bytes, len);
    assert_false(audit_line_parse(line, 2 * len, &link));
    line[len - 3] = 'G';
    assert_false(audit_line_parse(line, len, &link));
}

/* The longest strings there are still make a line, and valid JSON. */
static void test_long_strings_are_cut(void **state)
{
    struct seal_keys keys = vector_keys();
    struct audit_clock clock = {0};
    struct audit_head head = {0};
    struct audit_entry entry = an_open;
    struct audit_link link;
    char line[AUDIT_LINE_MAX];
    unsigned char chain[AUDIT_HASH_BYTES];
    static char text[70000];
    (void)state;

    memset(text, '\x01', sizeof text - 1);
    entry.path = entry.result = entry.detail = text;
    entry.who.executable = entry.who.unit = entry.who.container = text;
    size_t len = audit_line_write(&keys, &head, &clock, &entry, line, chain);
    assert_true(len < AUDIT_LINE_MAX);
    assert_true(audit_line_parse(line, len - 1, &link));
    assert_non_null(memmem(line, len, "\\u0001...\",\"version\"", 20));
    seal_keys_release(&keys);
}

static void test_events_have_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < AUDIT_EVENTS; i++) {
        enum audit_event event;
        assert_true(audit_event_find(audit_event_name((enum audit_event)i), &event));
        assert_int_equal(event, i);
    }
    enum audit_event none;
    assert_false(audit_event_find("opened", &none));
}

/* ---- Appending ----------------------------------------------------------- */

static void test_appended_lines_are_right(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");

    for (unsigned i = 0; i < 5; i++) { /* each time the end is found anew */
        struct audit_log *log = open_log(s, path, NULL);
        append_many(log, 100);
        assert_int_equal(audit_log_head(log).number, 100 * (i + 1));
        assert_false(audit_tampered(log));
        audit_log_free(log);
    }
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 500);
    assert_int_equal(report.unchecked, 0);
    assert_int_equal(report.incomplete, 0);
    store_close(s);
}

/* In turn, so that each has to read what the other wrote. */
static void test_two_logs_of_one_file(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *a = open_log(s, path, NULL);
    struct audit_log *b = open_log(s, path, NULL);

    for (unsigned i = 0; i < 1000; i++)
        assert_ok(audit_append(i % 3 == 0 ? a : b, &an_open, NULL, NULL));
    assert_int_equal(audit_log_head(a).number, 1000);
    audit_log_free(a);
    audit_log_free(b);
    assert_right(s, path, 1000);
    store_close(s);
}

/* What others did between a log's look at the file and its write. */
static const char *interference;
static struct audit_log *other_log;
static const char *interfered_path;
static struct audit_place seen_place;

static void interfere(void *arg, const struct audit_place *place)
{
    (void)arg;
    seen_place = *place;
    if (other_log)
        append_many(other_log, 3);
    if (interference)
        append_text(interfered_path, interference);
}

static void test_others_come_in_between(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);

    interfered_path = path;
    other_log = open_log(s, path, NULL);
    append_many(log, 10);
    assert_ok(audit_append(log, &an_open, interfere, NULL));
    append_many(log, 10);
    assert_right(s, path, 24);
    assert_true(audit_has(log, &seen_place));
    seen_place.chain[3] ^= 1;
    assert_false(audit_has(log, &seen_place));
    audit_log_free(other_log);
    other_log = NULL;

    /* A piece of a line comes in between, and the line that it spoils is written once more. */
    interference = "{\"time\":\"2026-11-24T18:20:31.123456Z\",\"seq\":2";
    assert_ok(audit_append(log, &an_open, interfere, NULL));
    assert_true(audit_has(log, &seen_place));
    /* One that stands there already. */
    append_text(path, interference);
    append_many(log, 5);
    audit_log_free(log);
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 30);
    assert_int_equal(report.incomplete, 2);
    interference = NULL;
    store_close(s);
}

/* A writer that was stopped for long writes a line that belongs far up. */
static void test_a_very_late_line(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);

    other_log = open_log(s, path, NULL);
    for (unsigned i = 0; i < 200; i++)
        assert_ok(audit_append(log, &an_open, interfere, NULL));
    audit_log_free(other_log);
    other_log = NULL;
    audit_log_free(log);
    log = open_log(s, path, NULL);
    append_many(log, 1);
    audit_log_free(log);
    assert_right(s, path, 801);
    store_close(s);
}

struct tally {
    atomic_uint done[4]; /* lines that each process knows to be in the file */
};

/* Append until killed; each line has the process's and a number of its own. */
static void append_for_ever(const struct fixture *f, const char *path, unsigned who,
                            struct tally *tally)
{
    struct store *s = open_store(f, STORE_READ_ONLY);
    struct audit_log *log = open_log(s, path, NULL);
    struct audit_entry entry = an_open;

    entry.who.pid = who + 1;
    for (;;) {
        entry.version = tally->done[who] + 1;
        if (audit_append(log, &entry, NULL, NULL) != STORE_OK)
            _exit(1);
        tally->done[who]++;
        if (entry.version % 64 == 0)
            usleep(200); /* or one that is kept waiting by the machine is late by very many */
    }
}

static pid_t start_appender(const struct fixture *f, const char *path, unsigned who,
                            struct tally *tally)
{
    pid_t pid = fork();
    if (pid == 0)
        append_for_ever(f, path, who, tally);
    assert_true(pid > 0);
    return pid;
}

#define PROCESSES 4
#define LINES_WANTED 10000

/* Each acknowledged line is there, in its process's order; one more may be, of the last moment. */
static void check_tally(const char *path, const struct tally *tally)
{
    unsigned next[PROCESSES] = {0};
    size_t len;
    char *text = slurp(path, &len);

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        const char *pid = strstr(line, ",\"pid\":");
        const char *version = strstr(line, ",\"version\":");
        struct audit_link link;
        if (!audit_line_parse(line, strlen(line), &link))
            continue; /* a piece, or one with a line behind it, which is written once more */
        assert_non_null(pid);
        assert_non_null(version);
        unsigned who = (unsigned)atoi(pid + 7) - 1;
        unsigned number = (unsigned)atoi(version + 11);
        assert_true(who < PROCESSES);
        assert_true(number == next[who] + 1 || number == next[who]); /* again, by its successor */
        next[who] = number;
    }
    for (unsigned who = 0; who < PROCESSES; who++)
        assert_true(next[who] == tally->done[who] || next[who] == tally->done[who] + 1);
    free(text);
}

static void test_processes_that_are_killed(void **state)
{
    struct fixture *f = *state;
    const char *path = record_path(f, "audit");
    struct tally *tally =
        mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[PROCESSES];
    uint64_t random = 7;
    unsigned sum = 0;

    for (unsigned who = 0; who < PROCESSES; who++)
        pids[who] = start_appender(f, path, who, tally);
    for (unsigned kills = 0; kills < 20 || sum < LINES_WANTED; kills++) {
        unsigned who = next_random(&random) % PROCESSES;
        unsigned before = tally->done[who];
        for (unsigned ms = 0; ms < 30000 && tally->done[who] < before + 50; ms++)
            usleep(1000);
        assert_true(tally->done[who] > before);
        kill(pids[who], SIGKILL);
        assert_int_equal(waitpid(pids[who], NULL, 0), pids[who]);
        pids[who] = start_appender(f, path, who, tally);
        sum = 0;
        for (unsigned i = 0; i < PROCESSES; i++)
            sum += tally->done[i];
    }
    for (unsigned who = 0; who < PROCESSES; who++) {
        kill(pids[who], SIGKILL);
        waitpid(pids[who], NULL, 0);
    }
    check_tally(path, tally);
    struct store *s = open_store(f, STORE_READ_ONLY);
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_true(report.lines >= LINES_WANTED);
    store_close(s);
    munmap(tally, sizeof *tally);
}

static void *append_and_sync(void *arg)
{
    for (unsigned i = 0; i < 200; i++)
        if (audit_append(arg, &an_open, NULL, NULL) || audit_sync(arg))
            return arg;
    return NULL;
}

static void test_threads_of_one_process(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);
    pthread_t threads[4];

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_and_sync, log), 0);
    for (unsigned i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    audit_log_free(log);
    assert_right(s, path, 800);
    store_close(s);
}

/* ---- Files that go, shrink or are full ----------------------------------- */

static void test_a_removed_file(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);

    append_many(log, 2);
    unlink(path);
    assert_error(audit_append(log, &an_open, NULL, NULL), STORE_ERR_NO_STORE);
    struct audit_head head = audit_log_head(log);
    audit_log_free(log);
    log = open_log(s, path, &head);
    append_many(log, 2);
    audit_log_free(log);
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.unchecked, 1);
    store_close(s);
}

static void test_a_file_that_is_full(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);
    struct rlimit before;
    struct stat st;

    append_many(log, 4);
    assert_int_equal(stat(path, &st), 0);
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {(rlim_t)st.st_size + 100, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_error(audit_append(log, &an_open, NULL, NULL), STORE_ERR_NO_SPACE);
    enum store_err second = audit_append(log, &an_open, NULL, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_not_equal(second, STORE_OK);
    append_many(log, 4);
    audit_log_free(log);
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 8);
    assert_int_equal(report.incomplete, 1);
    store_close(s);
}

/* What is written goes on from what was known, so that the hole is found. */
static void test_a_file_that_was_cut(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);
    size_t len;

    append_many(log, 10);
    char *text = slurp(path, &len);
    const char *fifth = text;
    for (unsigned i = 0; i < 4; i++)
        fifth = strchr(fifth, '\n') + 1;
    assert_int_equal(truncate(path, fifth - text + 50), 0);
    append_many(log, 2);
    assert_true(audit_tampered(log));
    assert_false(audit_tampered(log));
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_MISSING);
    assert_int_equal(report.line, 6);
    assert_int_equal(report.missing, 5); /* the piece stands for one of them */
    struct audit_head head = audit_log_head(log);
    audit_log_free(log);

    assert_int_equal(truncate(path, fifth - text), 0);
    log = open_log(s, path, &head);
    assert_true(audit_tampered(log));
    append_many(log, 1);
    report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_MISSING);
    assert_int_equal(report.line, 5);
    assert_int_equal(report.missing, 8);
    audit_log_free(log);
    free(text);
    store_close(s);
}

static void test_rotated_files(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    const char *rotated = record_path(f, "audit.1");
    struct audit_log *old = open_log(s, path, NULL);

    append_many(old, 100);
    assert_int_equal(rename(path, rotated), 0);
    struct audit_head head = audit_log_head(old);
    struct audit_log *log = open_log(s, path, &head);
    append_many(log, 100);
    struct audit_report report = verify(s, rotated, path);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 200);
    assert_int_equal(report.unchecked, 0);
    report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.unchecked, 1);
    report = verify(s, path, rotated);
    assert_int_equal(report.flaw, AUDIT_FLAW_MOVED);
    assert_int_equal(report.file, 1);

    /* Somebody who has not noticed writes on to the old one. */
    append_many(old, 3);
    report = verify(s, rotated, path);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 203);
    assert_int_equal(report.late, 3);

    /* The end of the old one is missing. */
    assert_int_equal(truncate(rotated, 5000), 0);
    report = verify(s, rotated, path);
    assert_int_equal(report.flaw, AUDIT_FLAW_MISSING);
    assert_int_equal(report.file, 1);
    assert_int_equal(report.line, 1);
    audit_log_free(old);
    audit_log_free(log);
    store_close(s);
}

/* An end that somebody knows, as a daemon does, may be in any file, or is missing. */
static void test_known_ends(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    const char *rotated = record_path(f, "audit.1");
    struct audit_log *old = open_log(s, path, NULL);

    append_many(old, 100);
    struct audit_head head = audit_log_head(old);
    assert_int_equal(rename(path, rotated), 0);
    struct audit_log *log = open_log(s, path, &head);
    append_many(log, 1);
    struct audit_head end = audit_log_seen(log);
    assert_int_equal(verify_up_to(s, rotated, path, &head).flaw, AUDIT_FLAW_NONE);
    assert_int_equal(verify_up_to(s, rotated, path, &end).flaw, AUDIT_FLAW_NONE);

    /* A late line in the old file has the number of the one that is known in the new. */
    append_many(old, 2);
    append_many(log, 1);
    assert_int_equal(verify_up_to(s, rotated, path, &end).flaw, AUDIT_FLAW_NONE);
    struct audit_head other = end;
    other.hash[3] ^= 1;
    struct audit_report report = verify_up_to(s, rotated, path, &other);
    assert_int_equal(report.flaw, AUDIT_FLAW_CUT);
    assert_int_equal(report.file, 1);
    assert_int_equal(report.line, 1);
    end = audit_log_seen(log);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(verify_up_to(s, rotated, path, &end).flaw, AUDIT_FLAW_CUT);
    audit_log_free(old);
    audit_log_free(log);
    store_close(s);
}

static void test_the_end_that_is_known_was_cut_off(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);
    struct stat st;

    append_many(log, 98);
    assert_int_equal(stat(path, &st), 0);
    append_many(log, 2);
    struct audit_head end = audit_log_seen(log);
    assert_int_equal(truncate(path, st.st_size), 0);
    assert_int_equal(verify(s, path, NULL).flaw, AUDIT_FLAW_NONE);
    struct audit_report report = verify_up_to(s, path, NULL, &end);
    assert_int_equal(report.flaw, AUDIT_FLAW_CUT);
    assert_int_equal(report.line, 98);
    assert_int_equal(report.missing, 2);
    audit_log_free(log);
    store_close(s);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The files of a store that is no more get other names, by which they are a record, and back. */
static void test_set_aside(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    const char *rotated = record_path(f, "audit.1");
    struct audit_log *log = open_log(s, path, NULL);
    struct audit_files files;
    char *former = NULL;
    bool any;

    assert_ok(audit_files_any(path, &any));
    assert_false(any);
    append_many(log, 10);
    struct audit_head head = audit_log_head(log);
    assert_int_equal(rename(path, rotated), 0);
    audit_log_free(log);
    log = open_log(s, path, &head);
    append_many(log, 10);
    audit_log_free(log);
    assert_ok(audit_files_any(path, &any));
    assert_true(any);

    assert_ok(audit_files_set_aside(path, &former));
    assert_false(exists(path) || exists(rotated));
    assert_ok(audit_files_any(path, &any));
    assert_false(any);
    assert_ok(audit_files_find(former, &files));
    assert_int_equal(files.count, 2);
    struct audit_report report = verify(s, files.names[0], files.names[1]);
    assert_int_equal(report.flaw, AUDIT_FLAW_NONE);
    assert_int_equal(report.lines, 20);
    audit_files_release(&files);

    append_text(rotated, "somebody else's");
    assert_false(audit_files_put_back(path, former));
    assert_int_equal(unlink(rotated), 0);
    assert_true(audit_files_put_back(path, former));
    assert_int_equal(verify(s, rotated, path).lines, 20);
    free(former);
    store_close(s);
}

/* ---- Tampering ----------------------------------------------------------- */

#define TAMPERED_LINES 100

/* A record of different lines; `ret_lines` is where each begins, and where the last ends. */
static char *make_lines(struct store *s, const char *path, size_t ret_lines[TAMPERED_LINES + 1])
{
    struct audit_log *log = open_log(s, path, NULL);
    struct audit_entry entry = an_open;
    size_t len;

    for (unsigned i = 0; i < TAMPERED_LINES; i++) {
        entry.version = i + 1;
        assert_ok(audit_append(log, &entry, NULL, NULL));
    }
    audit_log_free(log);
    char *text = slurp(path, &len);
    ret_lines[0] = 0;
    for (unsigned i = 0; i < TAMPERED_LINES; i++)
        ret_lines[i + 1] = (size_t)(strchr(text + ret_lines[i], '\n') - text) + 1;
    return text;
}

static void assert_flaw(struct store *s, const char *path, const char *text, size_t len,
                        enum audit_flaw flaw, uint64_t line)
{
    spill(path, text, len);
    struct audit_report report = verify(s, path, NULL);
    if (report.flaw != flaw || report.line != line)
        print_error("flaw %d in line %lu, expected %d in %lu\n", report.flaw,
                    (unsigned long)report.line, flaw, (unsigned long)line);
    assert_int_equal(report.flaw, flaw);
    assert_int_equal(report.line, line);
}

static void test_each_line_changed(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    size_t lines[TAMPERED_LINES + 1];
    const char *path = record_path(f, "audit");
    char *text = make_lines(s, path, lines);
    uint64_t random = 11;

    for (unsigned i = 0; i < TAMPERED_LINES; i++) {
        size_t len = lines[i + 1] - lines[i] - 1;
        for (unsigned tries = 0; tries < 12; tries++) {
            char *byte = text + lines[i] + next_random(&random) % len;
            char before = *byte;
            *byte = before == 'x' ? 'y' : 'x';
            spill(path, text, lines[TAMPERED_LINES]);
            struct audit_report report = verify(s, path, NULL);
            /* Of the last, some changes leave something that may be a piece; that is told. */
            bool told = i == TAMPERED_LINES - 1 && report.incomplete == 1;
            if (!told)
                assert_true(report.flaw == AUDIT_FLAW_CHANGED || report.flaw == AUDIT_FLAW_MISSING);
            if (!told)
                assert_int_equal(report.line, i + 1);
            *byte = before;
        }
    }
    free(text);
    store_close(s);
}

static void test_each_line_deleted_doubled_and_swapped(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    size_t lines[TAMPERED_LINES + 1];
    const char *path = record_path(f, "audit");
    char *text = make_lines(s, path, lines);
    size_t total = lines[TAMPERED_LINES];
    char *made = malloc(2 * total);

    for (unsigned i = 0; i < TAMPERED_LINES; i++) {
        size_t at = lines[i];
        size_t len = lines[i + 1] - at;
        /* Without the first, the record begins later, as if that had been rotated away; without the
         * last it ends earlier, which only a checkpoint tells. */
        memcpy(made, text, at);
        memcpy(made + at, text + at + len, total - at - len);
        if (i > 0 && i < TAMPERED_LINES - 1)
            assert_flaw(s, path, made, total - len, AUDIT_FLAW_MISSING, i + 1);
        memcpy(made, text, at + len);
        memcpy(made + at + len, text + at, total - at);
        assert_flaw(s, path, made, total + len, AUDIT_FLAW_DOUBLED, i + 2);
        if (i == TAMPERED_LINES - 1)
            continue;
        size_t next = lines[i + 2] - lines[i + 1];
        memcpy(made, text, at);
        memcpy(made + at, text + at + len, next);
        memcpy(made + at + next, text + at, len);
        memcpy(made + at + next + len, text + at + len + next, total - at - len - next);
        spill(path, made, total);
        struct audit_report report = verify(s, path, NULL);
        assert_int_not_equal(report.flaw, AUDIT_FLAW_NONE);
        assert_int_equal(report.line, i == 0 ? 2 : i + 1);
    }
    free(made);
    free(text);
    store_close(s);
}

static void test_the_record_cut_anywhere(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    size_t lines[TAMPERED_LINES + 1];
    const char *path = record_path(f, "audit");
    char *text = make_lines(s, path, lines);
    struct audit_log *log = open_log(s, path, NULL);

    s->root.checkpoint = (struct audit_checkpoint){audit_log_head(log), 1};
    audit_log_free(log);
    assert_right(s, path, TAMPERED_LINES);
    for (size_t cut = 0; cut < lines[TAMPERED_LINES]; cut += 100) {
        uint64_t last = 0;
        while (lines[last + 1] <= cut)
            last++;
        assert_flaw(s, path, text, cut, AUDIT_FLAW_CUT, last);
    }
    free(text);
    store_close(s);
}

/* Lines of the same numbers, made by somebody with another key. */
static void test_another_key(void **state)
{
    struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_ONLY);
    const char *path = record_path(f, "audit");
    struct audit_log *log = open_log(s, path, NULL);

    append_many(log, 10);
    assert_right(s, path, 10);
    s->keys.keys.data[5 * STORE_KEY_BYTES] ^= 1;
    append_many(log, 1);
    s->keys.keys.data[5 * STORE_KEY_BYTES] ^= 1;
    append_many(log, 1);
    audit_log_free(log);
    struct audit_report report = verify(s, path, NULL);
    assert_int_equal(report.flaw, AUDIT_FLAW_CHANGED);
    assert_int_equal(report.line, 11);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_known_lines),
        plain_test(test_what_is_no_line),
        plain_test(test_long_strings_are_cut),
        plain_test(test_events_have_words),
        store_test(test_appended_lines_are_right),
        store_test(test_two_logs_of_one_file),
        store_test(test_others_come_in_between),
        store_test(test_a_very_late_line),
        store_test(test_processes_that_are_killed),
        store_test(test_threads_of_one_process),
        store_test(test_a_removed_file),
        store_test(test_a_file_that_is_full),
        store_test(test_a_file_that_was_cut),
        store_test(test_rotated_files),
        store_test(test_known_ends),
        store_test(test_set_aside),
        store_test(test_the_end_that_is_known_was_cut_off),
        store_test(test_each_line_changed),
        store_test(test_each_line_deleted_doubled_and_swapped),
        store_test(test_the_record_cut_anywhere),
        store_test(test_another_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
