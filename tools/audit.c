/*
 * secretctl audit: the record of what was read and changed, as a table or as it is; 'verify' and
 * 'summary' are in files of their own.
 */
#include "audit_query.h"
#include "audit_scan.h"
#include "audit_summary.h"
#include "audit_verified.h"
#include "auto.h"
#include "commands.h"
#include "names.h"
#include "output.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct cli_option audit_options[] = {
    {AUDIT_OPTION_FILE, "file", "F",
     "this file, and not the record of the store; with verify, several"},
    {AUDIT_OPTION_SINCE, "since", "W", "from then on: a date, or a duration such as 1h before now"},
    {AUDIT_OPTION_UNTIL, "until", "W", "up to then"},
    {AUDIT_OPTION_UID, "uid", "U", "by this user"},
    {AUDIT_OPTION_DENIED, "denied", NULL, "what was refused, or failed"},
    {AUDIT_OPTION_EVENT, "event", "E", "such as open, get, put or denied; may be repeated"},
    {AUDIT_OPTION_FOLLOW, "follow", NULL, "go on as lines are added"},
    {0, NULL, NULL, NULL},
};

struct view {
    const struct audit_query *query;
    bool json;
    bool headed; /* the head of the table is printed */
};

static void print_head(struct view *view)
{
    if (!view->headed)
        printf("%-19s %-9s %-12s %-10s %7s %-6s %s\n", "TIME", "EVENT", "RESULT", "USER", "PID",
               "VERS.", "PATH, BY");
    view->headed = true;
}

static void print_id(const json_t *entry)
{
    const json_t *uid = json_object_get(entry, "uid");
    const json_t *pid = json_object_get(entry, "pid");

    printf("%-10s ", json_is_integer(uid) ? names_user((uint32_t)json_integer_value(uid)) : "-");
    if (json_is_integer(pid))
        printf("%7" JSON_INTEGER_FORMAT " ", json_integer_value(pid));
    else
        printf("%7s ", "-");
}

static void print_version(const json_t *entry)
{
    const json_t *version = json_object_get(entry, "version");
    char text[24] = "-";

    if (json_is_integer(version))
        snprintf(text, sizeof text, "v%" JSON_INTEGER_FORMAT, json_integer_value(version));
    printf("%-6s ", text);
}

/* One more thing in the last column, if there is one. */
static void print_part(const char *before, const char *text, const char *after)
{
    if (text[0] == '\0')
        return;
    fputs(before, stdout);
    text_print(stdout, text);
    fputs(after, stdout);
}

static void print_row(struct view *view, const json_t *entry, int64_t time_ns)
{
    const char *path = audit_query_text(entry, "path");
    const char *within = audit_query_text(entry, "container");
    const json_t *count = json_object_get(entry, "count");
    char when[OUTPUT_TIME];

    print_head(view);
    output_local_second(time_ns, when);
    printf("%-19s ", when);
    printf("%-9s ", audit_query_text(entry, "event"));
    printf("%-12s ", audit_query_text(entry, "result"));
    print_id(entry);
    print_version(entry);
    text_print(stdout, path[0] ? path : "-");
    print_part(", ", audit_query_text(entry, "executable"), "");
    print_part(" (", within[0] ? within : audit_query_text(entry, "unit"), ")");
    if (json_is_true(json_object_get(entry, "sudo")))
        fputs(" by sudo", stdout);
    print_part("; ", audit_query_text(entry, "detail"), "");
    if (json_is_integer(count))
        printf("; %" JSON_INTEGER_FORMAT " times", json_integer_value(count));
    if (json_is_true(json_object_get(entry, "inferred")))
        fputs("; inferred", stdout);
    putchar('\n');
}

static bool show_line(void *arg, const char *line, size_t len)
{
    struct view *view = arg;
    int64_t time_ns;
    json_t *entry = audit_scan_time(line, len, &time_ns) ? json_loadb(line, len, 0, NULL) : NULL;

    if (json_is_object(entry) && audit_query_wants(view->query, entry, time_ns)) {
        if (view->json) {
            fwrite(line, 1, len, stdout);
            putchar('\n');
        } else {
            print_row(view, entry, time_ns);
        }
    }
    json_decref(entry);
    return !ferror(stdout);
}

static bool flush_lines(void *arg, const char *line, size_t len)
{
    (void)arg;
    (void)line;
    (void)len;
    return fflush(stdout) == 0;
}

static enum status show(const struct cli *cli, const struct audit_query *query)
{
    struct view view = {query, cli->json, false};
    struct audit_scan scan = {
        .since_ns = query->since_ns, .visit = show_line, .idle = flush_lines, .arg = &view};
    struct audit_files files;
    const char *file;
    enum status status = audit_query_files(cli, &files);

    if (status == STATUS_DONE) {
        int failed = audit_scan(&scan, &files, cli_has(cli, AUDIT_OPTION_FOLLOW), &file);
        status = failed ? audit_query_failed(file, failed) : STATUS_DONE;
    }
    audit_files_release(&files);
    return status;
}

static enum status only_with(const struct cli *cli, const char *what, bool since)
{
    for (size_t i = 0; i < cli->given_count; i++) {
        int key = cli->given[i].key;
        if (key != AUDIT_OPTION_FILE && !(since && key == AUDIT_OPTION_SINCE))
            return fail_usage("audit", "'%s' takes '--file'%s and no other of these options", what,
                              since ? ", '--since'" : "");
    }
    return STATUS_DONE;
}

enum status audit_run(struct cli *cli)
{
    const char *path = cli->operand_count ? cli->operands[0] : NULL;
    bool verify = path && strcmp(path, "verify") == 0;
    bool summary = path && strcmp(path, "summary") == 0;
    struct audit_query query;
    enum status status = STATUS_DONE;

    if (verify || summary)
        status = only_with(cli, path, summary);
    if (status != STATUS_DONE)
        return status;
    status = audit_query_parse(cli, verify || summary ? NULL : path, &query);
    if (status == STATUS_DONE && verify)
        status = audit_verify_run(cli);
    else if (status == STATUS_DONE && summary)
        status = audit_summary_run(cli, &query);
    else if (status == STATUS_DONE)
        status = show(cli, &query);
    audit_query_release(&query);
    return status;
}
