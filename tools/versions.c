/*
 * secretctl versions: the kept versions of a secret, the newest first.
 */
#include "commands.h"
#include "find.h"
#include "output.h"
#include "unlock.h"
#include "versionpick.h"

#include <inttypes.h>
#include <string.h>

static void print_labels(const struct store_details *details, uint64_t version)
{
    unsigned at = 0;
    const char *label;

    while ((label = version_next_label(details, version, &at)) != NULL)
        printf(" %s", label);
}

static json_t *labels_json(const struct store_details *details, uint64_t version)
{
    json_t *array = json_array();
    unsigned at = 0;
    const char *label;

    while ((label = version_next_label(details, version, &at)) != NULL)
        json_array_append_new(array, json_string(label));
    return array;
}

static void print_versions(const struct store_details *details)
{
    for (uint32_t i = details->version_count; i > 0; i--) {
        const struct store_version *version = &details->versions[i - 1];
        char date[OUTPUT_TIME];
        char number[16];
        output_local_time(version->created_ns, date);
        snprintf(number, sizeof(number), "v%" PRIu32, version->number);
        printf("%-6s %7" PRIu32 " %s", number, version->size_bytes, date);
        print_labels(details, version->id);
        puts(version->revoked_ns ? " revoked" : "");
    }
}

static json_t *versions_json(const struct store_details *details)
{
    json_t *array = json_array();

    for (uint32_t i = details->version_count; i > 0; i--) {
        const struct store_version *version = &details->versions[i - 1];
        unsigned first = 0;
        json_t *object = json_pack(
            "{s:I, s:I, s:o, s:s?, s:o, s:o}", "version", (json_int_t)version->number, "size",
            (json_int_t)version->size_bytes, "created", output_json_time(version->created_ns),
            "label", version_next_label(details, version->id, &first), "labels",
            labels_json(details, version->id), "revoked",
            version->revoked_ns ? output_json_time(version->revoked_ns) : json_null());
        if (json_array_append_new(array, object) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

enum status versions_run(struct cli *cli)
{
    const struct task task = {"list the versions of", cli->operands[0]};
    struct store_details details;
    struct store_attr attr;
    enum status status = unlock_store(cli, STORE_READ_ONLY);

    if (status == STATUS_DONE)
        status = find_secret(cli->store, &task, task.object, &attr, &details);
    if (status != STATUS_DONE)
        return status;
    if (cli->json)
        return output_json(&task, versions_json(&details));
    print_versions(&details);
    return STATUS_DONE;
}
