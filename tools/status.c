/*
 * secretctl status: the store as a whole, where it is mounted, and what its daemons say.
 */
#include "commands.h"
#include "control.h"
#include "keys.h"
#include "mounts.h"
#include "output.h"
#include "text.h"
#include "unlock.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define UUID_TEXT 37
#define DAEMON_TIMEOUT_MS 1000
#define SECOND_NS 1000000000

static void print_uuid(const unsigned char uuid[static STORE_UUID_BYTES],
                       char ret_text[static UUID_TEXT])
{
    size_t at = 0;

    for (size_t i = 0; i < STORE_UUID_BYTES; i++) {
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        at += (size_t)snprintf(ret_text + at, UUID_TEXT - at, "%s%02x", dash, uuid[i]);
    }
}

/* Everything there is to say. */
struct report {
    const char *path;    /* absolute, if there is such a file */
    char room[PATH_MAX]; /* for it */
    enum status problem; /* the store itself could not be loaded: nothing is known of what it has */
    enum status degraded; /* the worst of what the daemons have met */
    struct store_stats stats;
    char uuid[UUID_TEXT];
    uint64_t file_bytes;
    struct mounts mounts;
    json_t *daemons; /* an array with an object for each */
};

static json_t *degraded_json(const struct control_reply *reply)
{
    if (reply->degraded == STORE_OK)
        return json_null();
    return json_pack("{s:s*, s:o}", "reason", reply->degraded_why, "since",
                     output_json_time(reply->degraded_since_s * SECOND_NS));
}

static json_t *opens_json(const struct control_reply *reply)
{
    const uint64_t *counts = reply->counts;

    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "ok", (json_int_t)counts[CONTROL_OPENS], "denied",
                     (json_int_t)counts[CONTROL_DENIED], "revoked",
                     (json_int_t)counts[CONTROL_REVOKED], "expired",
                     (json_int_t)counts[CONTROL_EXPIRED], "failed",
                     (json_int_t)counts[CONTROL_FAILED]);
}

static void add_daemon(void *arg, const struct control_reply *reply)
{
    struct report *report = arg;

    /* A mount point need not be UTF-8, JSON must. */
    json_t *daemon = json_pack(
        "{s:s*, s:i, s:I, s:i, s:s*, s:o, s:o, s:I}", "mount",
        reply->mountpoint[0] ? reply->mountpoint : NULL, "pid", (int)reply->pid, "generation",
        (json_int_t)reply->generation, "restarts", (int)reply->restarts, "error",
        reply->error ? strerror(reply->error) : NULL, "degraded", degraded_json(reply), "opens",
        opens_json(reply), "unrecorded", (json_int_t)reply->unrecorded);
    json_array_append_new(report->daemons, daemon);
    if (reply->degraded == STORE_ERR_INTEGRITY)
        report->degraded = STATUS_INTEGRITY;
    else if (reply->degraded && report->degraded == STATUS_DONE)
        report->degraded = STATUS_FAILED;
}

static void print_degraded(const json_t *degraded)
{
    const char *why = json_string_value(json_object_get(degraded, "reason"));
    const char *since = json_string_value(json_object_get(degraded, "since"));

    if (!since)
        return;
    printf("\n             degraded: ");
    text_print(stdout, why ? why : "?");
    printf(", since %s", since);
}

static void print_daemon(const json_t *daemon, uint64_t generation)
{
    const char *mount = json_string_value(json_object_get(daemon, "mount"));
    const char *error = json_string_value(json_object_get(daemon, "error"));
    json_int_t shown = json_integer_value(json_object_get(daemon, "generation"));

    printf("daemon:      ");
    if (error) {
        printf("%s\n", error);
        return;
    }
    text_print(stdout, mount ? mount : "?");
    printf(", pid %" JSON_INTEGER_FORMAT ", shows generation %" JSON_INTEGER_FORMAT "%s"
           ", %" JSON_INTEGER_FORMAT " restarts",
           json_integer_value(json_object_get(daemon, "pid")), shown,
           generation == 0 || (uint64_t)shown == generation ? "" : " (not the present one)",
           json_integer_value(json_object_get(daemon, "restarts")));
    print_degraded(json_object_get(daemon, "degraded"));
    putchar('\n');
}

static void print_kinds(const struct store *store)
{
    const char *between = "";

    for (unsigned k = STORE_SLOT_KEYFILE; k <= STORE_SLOT_COMMAND; k++) {
        enum store_slot_kind kind = (enum store_slot_kind)k;
        if (!store_has_slot(store, kind))
            continue;
        printf("%s%s", between, keys_kind_name(kind));
        between = ", ";
    }
}

static void print_store(const struct cli *cli, const struct report *report)
{
    const struct store_stats *stats = &report->stats;

    printf("format:      %d\n", STORE_FORMAT);
    printf("uuid:        %s\n", report->uuid);
    printf("generation:  %" PRIu64 "\n", stats->generation);
    printf("secrets:     %" PRIu64 "\n", stats->secrets);
    printf("directories: %" PRIu64 "\n", stats->directories);
    printf("deleted:     %" PRIu64 "\n", stats->deleted);
    printf("versions:    %" PRIu64 "\n", stats->versions);
    printf("key slots:   %" PRIu32 " (", stats->slots);
    print_kinds(cli->store);
    printf(")\n");
}

static void print_report(const struct cli *cli, const struct report *report)
{
    printf("store:       ");
    text_print(stdout, report->path);
    putchar('\n');
    if (report->problem == STATUS_DONE)
        print_store(cli, report);
    printf("file size:   %" PRIu64 "\n", report->file_bytes);
    printf("mounted at:  ");
    if (report->mounts.count == 0)
        printf("-");
    for (size_t i = 0; i < report->mounts.count; i++) {
        printf("%s", i == 0 ? "" : ", ");
        text_print(stdout, report->mounts.points[i]);
    }
    putchar('\n');
    for (size_t i = 0; i < json_array_size(report->daemons); i++)
        print_daemon(json_array_get(report->daemons, i), report->stats.generation);
}

/* What is known of the store's content; nothing, where it can't be loaded. */
static json_t *store_json(const struct report *report)
{
    const struct store_stats *stats = &report->stats;

    if (report->problem != STATUS_DONE)
        return json_object();
    return json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "format", STORE_FORMAT,
                     "uuid", report->uuid, "generation", (json_int_t)stats->generation, "secrets",
                     (json_int_t)stats->secrets, "directories", (json_int_t)stats->directories,
                     "deleted", (json_int_t)stats->deleted, "versions", (json_int_t)stats->versions,
                     "value_bytes", (json_int_t)stats->value_bytes, "key_slots",
                     (json_int_t)stats->slots);
}

static json_t *report_json(const struct report *report)
{
    json_t *points = json_array();
    json_t *all = json_pack("{s:s}", "store", report->path);

    for (size_t i = 0; i < report->mounts.count; i++)
        json_array_append_new(points, json_string(report->mounts.points[i]));
    json_t *store = store_json(report);
    json_t *rest =
        json_pack("{s:b, s:I, s:o, s:O}", "ok", report->problem == STATUS_DONE, "file_bytes",
                  (json_int_t)report->file_bytes, "mounts", points, "daemons", report->daemons);
    json_object_update(all, store);
    json_object_update(all, rest);
    json_decref(store);
    json_decref(rest);
    return all;
}

/* A store that does not verify is reported, as far as there is anything to say: its daemons may
 * serve what it was before. With a key that does not fit, or without a store, there is no report.
 */
static enum status load(struct cli *cli, struct report *report)
{
    const struct task task = {"load the store", cli->store_path};
    enum status status = unlock_open(cli, STORE_READ_ONLY);

    if (status == STATUS_DONE)
        status = unlock_keys(cli);
    if (status == STATUS_DONE) {
        enum store_err err = store_load(cli->store);
        status = err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
    }
    report->problem = status;
    report->path = realpath(cli->store_path, report->room);
    if (!report->path)
        report->path = cli->store_path;
    return status;
}

static enum store_err ask(const struct cli *cli, struct report *report, size_t *ret_count)
{
    if (cli->store && report->problem == STATUS_DONE)
        return control_ask(cli->store, CONTROL_STATUS, 0, DAEMON_TIMEOUT_MS, add_daemon, report,
                           ret_count);
    return control_ask_at(report->path, CONTROL_STATUS, DAEMON_TIMEOUT_MS, add_daemon, report,
                          ret_count);
}

static void gather(const struct cli *cli, struct report *report)
{
    struct stat st;

    if (stat(report->path, &st) == 0)
        report->file_bytes = (uint64_t)st.st_size;
    if (report->problem == STATUS_DONE) {
        store_stats(cli->store, &report->stats);
        print_uuid(report->stats.uuid, report->uuid);
    }
    mounts_find(report->path, &report->mounts);
}

enum status status_run(struct cli *cli)
{
    const struct task task = {"tell the status of", cli->store_path};
    struct report report = {.mounts = MOUNTS_INIT, .daemons = json_array()};
    enum status status = load(cli, &report);
    size_t count = 0;

    if (status != STATUS_LOCKED && ask(cli, &report, &count) != STORE_OK)
        status = fail_store(&task, STORE_ERR_IO);
    else if (status == STATUS_DONE || status == STATUS_INTEGRITY || count > 0) {
        gather(cli, &report);
        enum status printed = STATUS_DONE;
        if (cli->json)
            printed = output_json(&task, report_json(&report));
        else
            print_report(cli, &report);
        status = status == STATUS_DONE ? printed : status;
        status = status == STATUS_DONE ? report.degraded : status;
    }
    mounts_release(&report.mounts);
    json_decref(report.daemons);
    return status;
}
