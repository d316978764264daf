/*
 * secretctl status: the store as a whole, and where it is mounted.
 */
#include "commands.h"
#include "mounts.h"
#include "output.h"
#include "text.h"
#include "unlock.h"

#include <inttypes.h>
#include <sys/stat.h>

#define UUID_TEXT 37

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
};

static void print_report(const struct cli *cli, const struct report *report)
{
    const struct store_stats *stats = &report->stats;
    bool keyfile = store_has_slot(cli->store, STORE_SLOT_KEYFILE);
    bool passphrase = store_has_slot(cli->store, STORE_SLOT_PASSPHRASE);

    printf("store:       ");
    text_print(stdout, report->path);
    printf("\nformat:      %d\n", STORE_FORMAT);
    printf("uuid:        %s\n", report->uuid);
    printf("generation:  %" PRIu64 "\n", stats->generation);
    printf("secrets:     %" PRIu64 "\n", stats->secrets);
    printf("directories: %" PRIu64 "\n", stats->directories);
    printf("deleted:     %" PRIu64 "\n", stats->deleted);
    printf("versions:    %" PRIu64 "\n", stats->versions);
    printf("key slots:   %" PRIu32 " (%s%s%s)\n", stats->slots, keyfile ? "keyfile" : "",
           keyfile && passphrase ? ", " : "", passphrase ? "passphrase" : "");
    printf("file size:   %" PRIu64 "\n", report->file_bytes);
    printf("mounted at:  ");
    if (report->mounts.count == 0)
        printf("-");
    for (size_t i = 0; i < report->mounts.count; i++) {
        printf("%s", i == 0 ? "" : ", ");
        text_print(stdout, report->mounts.points[i]);
    }
    putchar('\n');
}

static json_t *report_json(const struct report *report)
{
    const struct store_stats *stats = &report->stats;
    json_t *points = json_array();

    for (size_t i = 0; i < report->mounts.count; i++)
        json_array_append_new(points, json_string(report->mounts.points[i]));
    return json_pack(
        "{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "store", report->path,
        "format", STORE_FORMAT, "uuid", report->uuid, "generation", (json_int_t)stats->generation,
        "secrets", (json_int_t)stats->secrets, "directories", (json_int_t)stats->directories,
        "deleted", (json_int_t)stats->deleted, "versions", (json_int_t)stats->versions,
        "value_bytes", (json_int_t)stats->value_bytes, "key_slots", (json_int_t)stats->slots,
        "file_bytes", (json_int_t)report->file_bytes, "mounts", points);
}

enum status status_run(struct cli *cli)
{
    const struct task task = {"tell the status of", cli->store_path};
    struct report report = {.mounts = MOUNTS_INIT};
    enum status status = unlock_store(cli, STORE_READ_ONLY);
    struct stat st;

    if (status != STATUS_DONE)
        return status;
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
    return status;
}
