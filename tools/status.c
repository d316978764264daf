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
#include <string.h>
#include <sys/stat.h>

#define UUID_TEXT 37
#define DAEMON_TIMEOUT_MS 1000

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
    const char *path; /* absolute */
    struct store_stats stats;
    char uuid[UUID_TEXT];
    uint64_t file_bytes;
    struct mounts mounts;
    json_t *daemons; /* an array with an object for each */
};

static void add_daemon(void *arg, const struct control_reply *reply)
{
    const struct report *report = arg;

    /* A mount point need not be UTF-8, JSON must. */
    json_t *daemon = json_pack(
        "{s:s*, s:i, s:I, s:i, s:s*}", "mount", reply->mountpoint[0] ? reply->mountpoint : NULL,
        "pid", (int)reply->pid, "generation", (json_int_t)reply->generation, "restarts",
        (int)reply->restarts, "error", reply->error ? strerror(reply->error) : NULL);
    json_array_append_new(report->daemons, daemon);
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
           ", %" JSON_INTEGER_FORMAT " restarts\n",
           json_integer_value(json_object_get(daemon, "pid")), shown,
           (uint64_t)shown == generation ? "" : " (not the present one)",
           json_integer_value(json_object_get(daemon, "restarts")));
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

static void print_report(const struct cli *cli, const struct report *report)
{
    const struct store_stats *stats = &report->stats;

    printf("store:       ");
    text_print(stdout, report->path);
    printf("\nformat:      %d\n", STORE_FORMAT);
    printf("uuid:        %s\n", report->uuid);
    printf("generation:  %" PRIu64 "\n", stats->generation);
    printf("secrets:     %" PRIu64 "\n", stats->secrets);
    printf("directories: %" PRIu64 "\n", stats->directories);
    printf("deleted:     %" PRIu64 "\n", stats->deleted);
    printf("versions:    %" PRIu64 "\n", stats->versions);
    printf("key slots:   %" PRIu32 " (", stats->slots);
    print_kinds(cli->store);
    printf(")\n");
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
        print_daemon(json_array_get(report->daemons, i), stats->generation);
}

static json_t *report_json(const struct report *report)
{
    const struct store_stats *stats = &report->stats;
    json_t *points = json_array();

    for (size_t i = 0; i < report->mounts.count; i++)
        json_array_append_new(points, json_string(report->mounts.points[i]));
    return json_pack(
        "{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:O}", "store", report->path,
        "format", STORE_FORMAT, "uuid", report->uuid, "generation", (json_int_t)stats->generation,
        "secrets", (json_int_t)stats->secrets, "directories", (json_int_t)stats->directories,
        "deleted", (json_int_t)stats->deleted, "versions", (json_int_t)stats->versions,
        "value_bytes", (json_int_t)stats->value_bytes, "key_slots", (json_int_t)stats->slots,
        "file_bytes", (json_int_t)report->file_bytes, "mounts", points, "daemons", report->daemons);
}

enum status status_run(struct cli *cli)
{
    const struct task task = {"tell the status of", cli->store_path};
    struct report report = {.mounts = MOUNTS_INIT, .daemons = json_array()};
    enum status status = unlock_store(cli, STORE_READ_ONLY);
    struct stat st;

    size_t count;

    if (status == STATUS_DONE &&
        control_ask(cli->store, CONTROL_STATUS, 0, DAEMON_TIMEOUT_MS, add_daemon, &report, &count))
        status = fail_store(&task, STORE_ERR_IO);
    if (status != STATUS_DONE) {
        json_decref(report.daemons);
        return status;
    }
    report.path = store_path(cli->store);
    if (stat(report.path, &st) == 0)
        report.file_bytes = (uint64_t)st.st_size;
    store_stats(cli->store, &report.stats);
    print_uuid(report.stats.uuid, report.uuid);
    mounts_find(report.path, &report.mounts);
    if (cli->json)
        status = output_json(&task, report_json(&report));
    else
        print_report(cli, &report);
    mounts_release(&report.mounts);
    json_decref(report.daemons);
    return status;
}
