/*
 * See audit_query.h.
 */
#include "audit_query.h"

#include "auto.h"
#include "clock.h"
#include "duration.h"
#include "names.h"
#include "record.h"
#include "when.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WHENS "a date such as 2026-11-24T18:00:00Z, or a duration before now such as 1h or 7d"

/* Unlike of what is to come, of what was a duration counts back. */
static bool parse_when(const char *text, int64_t *ret_ns)
{
    int64_t now_ns = clock_ns(CLOCK_REALTIME);
    uint64_t ago_s;

    if (duration_parse(text, (uint64_t)(now_ns / CLOCK_SECOND_NS) - 1, &ago_s)) {
        *ret_ns = now_ns - (int64_t)ago_s * CLOCK_SECOND_NS;
        return true;
    }
    return when_parse_now(text, ret_ns) && *ret_ns != 0;
}

static enum status check_events(const struct cli *cli)
{
    enum audit_event event;

    for (size_t i = 0; i < cli->given_count; i++)
        if (cli->given[i].key == AUDIT_OPTION_EVENT && !audit_event_find(cli->given[i].arg, &event))
            return fail_usage("audit", "there is no event '%s'", cli->given[i].arg);
    return STATUS_DONE;
}

enum status audit_query_parse(const struct cli *cli, const char *path,
                              struct audit_query *ret_query)
{
    const char *since = cli_value(cli, AUDIT_OPTION_SINCE);
    const char *until = cli_value(cli, AUDIT_OPTION_UNTIL);
    const char *user = cli_value(cli, AUDIT_OPTION_UID);

    *ret_query = (struct audit_query){
        .cli = cli,
        .until_ns = INT64_MAX,
        .any_user = user == NULL,
        .denied = cli_has(cli, AUDIT_OPTION_DENIED),
    };
    if (since && !parse_when(since, &ret_query->since_ns))
        return fail_usage("audit", "'--since' takes " WHENS);
    if (until && !parse_when(until, &ret_query->until_ns))
        return fail_usage("audit", "'--until' takes " WHENS);
    if (user && !names_find_user(user, &ret_query->uid))
        return fail_usage("audit", "there is no user '%s'", user);
    if (path && (ret_query->path = store_plain_path(path)) == NULL)
        return fail_code(&(struct task){"read", "the record"}, STORE_ERR_NO_MEMORY);
    return check_events(cli);
}

void audit_query_release(struct audit_query *query)
{
    free(query->path);
    query->path = NULL;
}

/* ---- Lines --------------------------------------------------------------- */

const char *audit_query_text(const json_t *entry, const char *name)
{
    const char *text = json_string_value(json_object_get(entry, name));
    return text ? text : "";
}

bool audit_query_is_denied(const json_t *entry)
{
    return strcmp(audit_query_text(entry, "result"), "ok") != 0;
}

static bool is_within(const char *path, const char *top)
{
    size_t len = strlen(top);

    if (strcmp(top, "/") == 0)
        return true;
    return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool has_event(const struct cli *cli, const char *event)
{
    bool asked = false;

    for (size_t i = 0; i < cli->given_count; i++) {
        if (cli->given[i].key != AUDIT_OPTION_EVENT)
            continue;
        asked = true;
        if (strcmp(cli->given[i].arg, event) == 0)
            return true;
    }
    return !asked;
}

static bool is_of_user(const json_t *entry, uint32_t uid)
{
    const json_t *found = json_object_get(entry, "uid");
    return json_is_integer(found) && json_integer_value(found) == (json_int_t)uid;
}

bool audit_query_wants(const struct audit_query *query, const json_t *entry, int64_t time_ns)
{
    if (time_ns < query->since_ns || time_ns > query->until_ns)
        return false;
    if (query->path && !is_within(audit_query_text(entry, "path"), query->path))
        return false;
    if (!query->any_user && !is_of_user(entry, query->uid))
        return false;
    if (query->denied && !audit_query_is_denied(entry))
        return false;
    return has_event(query->cli, audit_query_text(entry, "event"));
}

/* ---- Files --------------------------------------------------------------- */

static enum status named_files(const struct cli *cli, size_t count, struct audit_files *ret_files)
{
    const struct task task = {"find", "the record"};

    ret_files->names = calloc(count, sizeof *ret_files->names);
    for (size_t i = 0; ret_files->names && i < cli->given_count; i++) {
        if (cli->given[i].key != AUDIT_OPTION_FILE)
            continue;
        char *name = strdup(cli->given[i].arg);
        if (name == NULL)
            break;
        ret_files->names[ret_files->count++] = name;
    }
    if (ret_files->count == count)
        return STATUS_DONE;
    return fail_code(&task, STORE_ERR_NO_MEMORY);
}

enum status audit_query_files(const struct cli *cli, struct audit_files *ret_files)
{
    AUTO_FREE char *name = record_name(cli);
    const struct task task = {"find", name ? name : "the record"};
    size_t count = 0;

    *ret_files = (struct audit_files){0};
    for (size_t i = 0; i < cli->given_count; i++)
        count += cli->given[i].key == AUDIT_OPTION_FILE;
    if (count > 0)
        return named_files(cli, count, ret_files);
    if (name == NULL)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    enum store_err err = audit_files_find(name, ret_files);
    return err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
}

enum status audit_query_failed(const char *file, int error)
{
    const struct task task = {"read the record", file};

    return fail(&task, STATUS_FAILED,
                error == ENOENT ? "nothing is recorded yet, or elsewhere: see --file" : NULL, "%s",
                strerror(error));
}
