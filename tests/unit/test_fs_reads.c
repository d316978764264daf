/*
 * The worker's part of the record of reads: what comes again, floods, and what can't be written.
 */
#include "helpers.h"
#include "loop.h"
#include "reads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool __wrap_callers_find(struct callers *callers, uint32_t thread, bool fresh,
                         struct caller *ret_caller);
bool __wrap_callers_find(struct callers *callers, uint32_t thread, bool fresh,
                         struct caller *ret_caller)
{
    (void)callers;
    (void)fresh;
    *ret_caller = (struct caller){.who = {.pid = thread + 1000, .executable = "/bin/reader"}};
    return true;
}

/* Too large for a stack. */
static struct kept_reads kept;

struct recording {
    struct fixture *f;
    struct store *store;
    struct reads *reads;
    char path[128];
};

static int open_record(const struct recording *r)
{
    return open(r->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void start(struct recording *r, bool with_file, bool optional)
{
    const struct reads_options options = {.optional = optional};

    r->reads = reads_start(r->store, with_file ? open_record(r) : -1, &kept, NULL, &options);
    assert_non_null(r->reads);
}

static struct recording begin(void **state)
{
    struct recording r = {.f = *state};

    kept = (struct kept_reads){.head = 0};
    snprintf(r.path, sizeof r.path, "%s/audit.jsonl", r.f->folder);
    r.store = open_store(r.f, STORE_READ_WRITE);
    put_text(r.store, "a", "value");
    put_text(r.store, "b", "value");
    return r;
}

static void end(struct recording *r)
{
    reads_stop(r->reads);
    store_close(r->store);
}

static struct reads_note note_of(const struct recording *r, const char *path, uint64_t request)
{
    return (struct reads_note){.event = AUDIT_OPEN,
                               .request = request,
                               .id = resolve(r->store, path).version,
                               .thread = 7,
                               .uid = 42,
                               .gid = 43};
}

/* The lines that have `text` in them; NULL: all. */
static unsigned count_lines(const struct recording *r, const char *text)
{
    char line[4096];
    unsigned count = 0;
    FILE *f = fopen(r->path, "re");

    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        count += text == NULL || strstr(line, text) != NULL;
    fclose(f);
    return count;
}

static void test_a_line(void **state)
{
    struct recording r = begin(state);
    const struct reads_note note = note_of(&r, "a", 2);

    start(&r, true, false);
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, NULL), 1);
    assert_int_equal(count_lines(&r, "\"event\":\"open\",\"path\":\"a\",\"version\":1,\"uid\":42,"
                                     "\"gid\":43,\"pid\":1007,\"executable\":\"/bin/reader\","
                                     "\"unit\":null,\"container\":null,\"result\":\"ok\""),
                     1);
    end(&r);
}

/* By another worker, too, as what is kept says. */
static void test_what_is_sent_again_is_recorded_once(void **state)
{
    struct recording r = begin(state);
    struct reads_note note = note_of(&r, "a", 2);

    start(&r, true, false);
    assert_int_equal(reads_record(r.reads, &note), 0);
    note.request |= FUSE_UNIQUE_RESEND;
    assert_int_equal(reads_record(r.reads, &note), 0);
    reads_stop(r.reads);
    start(&r, true, false);
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, NULL), 1);

    note.request = 4 | FUSE_UNIQUE_RESEND; /* that nobody came to record */
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, NULL), 2);

    note.id = resolve(r.store, "b").version; /* it gets another answer now */
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, "\"path\":\"b\""), 1);
    end(&r);
}

/* A worker that dies between noting a request and writing its line leaves it to the next. */
static void test_an_intent_is_no_line(void **state)
{
    struct recording r = begin(state);
    struct reads_note note = note_of(&r, "a", 2);

    start(&r, true, false);
    assert_int_equal(reads_record(r.reads, &note), 0);
    kept.recorded[0].place.chain[3] ^= 1;
    note.request |= FUSE_UNIQUE_RESEND;
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, NULL), 2);
    end(&r);
}

static void test_floods_are_counted(void **state)
{
    struct recording r = begin(state);
    struct reads_note note = note_of(&r, "a", 2);

    start(&r, true, false);
    note.event = AUDIT_DENIED;
    note.error = EACCES;
    for (int i = 0; i < 500; i++)
        assert_int_equal(reads_record(r.reads, &note), 0);
    note.uid = 44; /* somebody else */
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, "\"uid\":44"), 1);
    reads_stop(r.reads);

    unsigned lines = count_lines(&r, "\"uid\":42");
    assert_in_range(lines, 9, 40); /* of one second, or of two or more on a slow machine */
    assert_in_range(count_lines(&r, "\"count\":"), 1, 5);
    store_close(r.store);
}

/* Soon after, also where nobody asks for anything any more. */
static void tell_a_flood(void **state, bool sync)
{
    struct recording r = begin(state);
    const struct reads_options options = {.sync = sync};
    struct reads_note note = note_of(&r, "a", 2);
    unsigned told = 0;

    r.reads = reads_start(r.store, open_record(&r), &kept, NULL, &options);
    note.event = AUDIT_DENIED;
    note.error = EACCES;
    for (int i = 0; i < 100; i++)
        assert_int_equal(reads_record(r.reads, &note), 0);
    for (int i = 0; i < 1000 && told == 0; i++) {
        usleep(10000);
        told = count_lines(&r, "\"count\":");
    }
    assert_true(told > 0);
    end(&r);
}

static void test_a_flood_is_told_when_it_is_over(void **state)
{
    tell_a_flood(state, false);
}

static void test_a_flood_is_told_where_each_line_is_synced(void **state)
{
    tell_a_flood(state, true);
}

static void test_opens_are_no_flood(void **state)
{
    struct recording r = begin(state);
    struct reads_note note = note_of(&r, "a", 2);

    start(&r, true, false);
    for (int i = 0; i < 100; i++)
        assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, NULL), 100);
    end(&r);
}

static void test_without_a_file_nothing_is_answered(void **state)
{
    struct recording r = begin(state);
    const struct reads_note note = note_of(&r, "a", 2);

    start(&r, false, false);
    assert_true(kept.lost);
    assert_int_equal(reads_record(r.reads, &note), EIO);
    reads_use(r.reads, open_record(&r));
    assert_false(kept.lost);
    assert_int_equal(reads_record(r.reads, &note), 0);
    unlink(r.path);
    assert_int_equal(reads_record(r.reads, &note), EIO);
    assert_true(kept.lost);
    reads_use(r.reads, open_record(&r));
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(count_lines(&r, "\"seq\":2,"), 1); /* where the other left off */
    end(&r);
}

static void test_what_goes_on_leaves_a_gap(void **state)
{
    struct recording r = begin(state);
    const struct reads_note note = note_of(&r, "a", 2);

    start(&r, false, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(kept.unrecorded, 3);
    reads_use(r.reads, open_record(&r));
    assert_int_equal(reads_record(r.reads, &note), 0);
    assert_int_equal(kept.unrecorded, 0);
    assert_int_equal(count_lines(&r, "\"event\":\"gap\""), 1);
    assert_int_equal(count_lines(&r, "\"count\":3"), 1);
    assert_int_equal(count_lines(&r, NULL), 2);
    end(&r);
}

static void test_no_record_at_all(void **state)
{
    struct recording r = begin(state);
    const struct reads_note note = note_of(&r, "a", 2);
    const struct reads_options options = {.none = true};

    r.reads = reads_start(r.store, -1, &kept, NULL, &options);
    assert_non_null(r.reads);
    assert_int_equal(reads_record(r.reads, &note), 0);
    reads_tell(r.reads, AUDIT_MOUNT, NULL);
    assert_false(kept.lost);
    assert_int_equal(access(r.path, F_OK), -1);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_a_line),
        store_test(test_what_is_sent_again_is_recorded_once),
        store_test(test_an_intent_is_no_line),
        store_test(test_floods_are_counted),
        store_test(test_a_flood_is_told_when_it_is_over),
        store_test(test_a_flood_is_told_where_each_line_is_synced),
        store_test(test_opens_are_no_flood),
        store_test(test_without_a_file_nothing_is_answered),
        store_test(test_what_goes_on_leaves_a_gap),
        store_test(test_no_record_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
