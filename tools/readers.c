/*
 * secretctl readers: who has read which version of a secret, who still holds an older one, and who
 * has not come back for the current one.
 */
#include "commands.h"
#include "find.h"
#include "names.h"
#include "output.h"
#include "readership.h"
#include "text.h"
#include "unlock.h"

#include "auto.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define DAEMON_TIMEOUT_MS 5000

/* Everything there is to say. */
struct report {
    const struct task *task;
    struct readership readership;
    json_t *daemons;
    enum status status; /* FAILED when a daemon did not answer */
    enum store_err err;
};

static void take_reply(void *arg, const struct control_reply *reply,
                       const struct control_readers *head, const struct control_reader *readers)
{
    struct report *report = arg;
    const char *mount = reply->mountpoint[0] ? reply->mountpoint : "?";
    const struct task task = {report->task->action, mount};
    AUTO_FREE char *escaped = text_escape(mount);
    bool old = reply->error == EOPNOTSUPP;

    json_array_append_new(report->daemons,
                          json_pack("{s:s*, s:i, s:s*}", "mount", escaped, "pid", (int)reply->pid,
                                    "error", reply->error ? strerror(reply->error) : NULL));
    if (reply->error)
        report->status = fail(&task, STATUS_FAILED, old ? "restart it" : "see 'secretctl status'",
                              "its daemon says: %s", strerror(reply->error));
    else if (!report->err)
        report->err = readership_add(&report->readership, head, readers);
}

/* ---- For people ---------------------------------------------------------- */

static const char *state_of(const struct readership *r, const struct reader *reader)
{
    if (reader->version->revoked_ns)
        return "revoked";
    return reader->version->id == r->details->current ? "current" : "superseded";
}

static const char *process_state(const struct reader *reader)
{
    if (!reader->lives)
        return "ended";
    return reader->behind ? "behind" : "runs";
}

static const char *holds_of(const struct reader *reader)
{
    if (reader->open)
        return reader->mapped ? "open,mapped" : "open";
    return reader->mapped ? "mapped" : "-";
}

static void print_reader(const struct readership *r, const struct reader *reader)
{
    const struct identity *who = &reader->seen.who;
    const char *what = who->executable[0] ? who->executable : who->command;
    char number[16];
    char last[OUTPUT_TIME] = "-";

    snprintf(number, sizeof number, "v%" PRIu32, reader->version->number);
    if (reader->seen.count)
        output_local_time(reader->seen.last_ns, last);
    printf("%-7s %-10s %-10s %7" PRIu32 " %-6s %-16s %6" PRIu64 " %-11s ", number,
           state_of(r, reader), names_user(reader->seen.uid), who->pid, process_state(reader), last,
           reader->seen.count, holds_of(reader));
    text_print(stdout, what[0] ? what : "?");
    const char *within = who->container[0] ? who->container : who->unit;
    if (within[0]) {
        printf(" (");
        text_print(stdout, within);
        putchar(')');
    }
    putchar('\n');
}

typedef bool reader_test_fn(const struct readership *r, const struct reader *reader);

static bool is_behind(const struct readership *r, const struct reader *reader)
{
    (void)r;
    return reader->behind;
}

/* Whether it is the first of its process for which `test` is true. */
static bool is_first(const struct readership *r, size_t i, reader_test_fn *test)
{
    if (!test(r, &r->items[i]))
        return false;
    for (size_t before = 0; before < i; before++)
        if (r->items[before].seen.who.pid == r->items[i].seen.who.pid && test(r, &r->items[before]))
            return false;
    return true;
}

static void print_pids(const struct readership *r, const char *what, reader_test_fn *test)
{
    bool any = false;

    printf("%s", what);
    for (size_t i = 0; i < r->count; i++) {
        if (is_first(r, i, test)) {
            printf("%s %" PRIu32, any ? "," : "", r->items[i].seen.who.pid);
            any = true;
        }
    }
    puts(any ? "" : " -");
}

static void print_report(const struct report *report)
{
    const struct readership *r = &report->readership;
    char since[OUTPUT_TIME];

    if (json_array_size(report->daemons) == 0) {
        puts("no daemon serves the store: there is no record of readers");
        return;
    }
    if (r->device_count == 0)
        return;
    if (r->count)
        printf("%-7s %-10s %-10s %7s %-6s %-16s %6s %-11s %s\n", "VERSION", "WHICH", "USER", "PID",
               "NOW", "LAST OPEN", "OPENS", "HOLDS", "PROCESS");
    for (size_t i = 0; i < r->count; i++)
        print_reader(r, &r->items[i]);
    print_pids(r, "hold an older version:", reader_holds_older);
    print_pids(r, "behind, running with an older version:", is_behind);
    output_local_time(r->since_ns, since);
    printf("recorded since: %s\n", since);
    if (r->forgotten)
        printf("no longer on record: %" PRIu64 " processes that had ended, of all secrets\n",
               r->forgotten);
    if (r->missed)
        printf("missing: %" PRIu64 " opens or processes, of all secrets\n", r->missed);
    if (r->unseen)
        printf("not looked at: %zu processes, for what they hold; root can\n", r->unseen);
}

/* ---- For programs -------------------------------------------------------- */

/* A text that a process has chosen need not be UTF-8, JSON must. */
static json_t *json_text(const char *text)
{
    AUTO_FREE char *escaped = text[0] ? text_escape(text) : NULL;
    return escaped ? json_string(escaped) : json_null();
}

static json_t *json_open_time(const struct reader *reader, int64_t time_ns)
{
    return reader->seen.count ? output_json_time(time_ns) : json_null();
}

static json_t *reader_json(const struct readership *r, const struct reader *reader)
{
    const struct identity *who = &reader->seen.who;
    json_t *holds = json_array();

    if (reader->open)
        json_array_append_new(holds, json_string("open"));
    if (reader->mapped)
        json_array_append_new(holds, json_string("mapped"));
    return json_pack("{s:I, s:s, s:s, s:I, s:I, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}",
                     "version", (json_int_t)reader->version->number, "state", state_of(r, reader),
                     "user", names_user(reader->seen.uid), "uid", (json_int_t)reader->seen.uid,
                     "pid", (json_int_t)who->pid, "running", reader->lives, "behind",
                     reader->behind, "command", json_text(who->command), "executable",
                     json_text(who->executable), "unit", json_text(who->unit), "container",
                     json_text(who->container), "first",
                     json_open_time(reader, reader->seen.first_ns), "last",
                     json_open_time(reader, reader->seen.last_ns), "opens",
                     (json_int_t)reader->seen.count, "holds", holds);
}

static json_t *json_pids(const struct readership *r, reader_test_fn *test)
{
    json_t *pids = json_array();

    for (size_t i = 0; i < r->count; i++)
        if (is_first(r, i, test))
            json_array_append_new(pids, json_integer(r->items[i].seen.who.pid));
    return pids;
}

static json_t *report_json(const struct report *report, uint32_t current)
{
    const struct readership *r = &report->readership;
    json_t *readers = json_array();

    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(readers, reader_json(r, &r->items[i]));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:O}", "current",
                     (json_int_t)current, "readers", readers, "holding",
                     json_pids(r, reader_holds_older), "behind", json_pids(r, is_behind), "since",
                     r->since_ns ? output_json_time(r->since_ns) : json_null(), "forgotten",
                     (json_int_t)r->forgotten, "missed", (json_int_t)r->missed, "unseen",
                     (json_int_t)r->unseen, "daemons", report->daemons);
}

/* ---- The command --------------------------------------------------------- */

/* Collect all of it. */
static enum status fill_report(struct cli *cli, struct report *report)
{
    size_t count;
    enum store_err err =
        control_ask_readers(cli->store, DAEMON_TIMEOUT_MS, take_reply, report, &count);
    if (err)
        return fail_store(report->task, err);
    err = report->err ? report->err : readership_complete(&report->readership);
    return err ? fail_code(report->task, err) : STATUS_DONE;
}

enum status readers_run(struct cli *cli)
{
    const struct task task = {"tell the readers of", cli->operands[0]};
    struct store_details details;
    struct store_attr attr;
    enum status status = unlock_store(cli, STORE_READ_ONLY);

    if (status == STATUS_DONE)
        status = find_secret(cli->store, &task, task.object, &attr, &details);
    if (status != STATUS_DONE)
        return status;
    struct report report = {
        .task = &task, .readership = {.details = &details}, .daemons = json_array()};
    status = fill_report(cli, &report);
    if (status == STATUS_DONE && cli->json)
        status = output_json(&task, report_json(&report, attr.number));
    else if (status == STATUS_DONE)
        print_report(&report);
    readership_release(&report.readership);
    json_decref(report.daemons);
    return status == STATUS_DONE ? report.status : status;
}
