/*
 * Data as it is printed. JSON is built and written by jansson alone, so that no name can break it.
 *
 * Knows no command.
 */
#include "output.h"

#include "auto.h"
#include "mode.h"
#include "names.h"

#include <stdio.h>
#include <time.h>

#define NS_PER_S 1000000000

/* False where the date has no year that can be printed. */
static bool local_fields(int64_t time_ns, struct tm *ret_fields)
{
    time_t seconds = time_ns / NS_PER_S;
    return localtime_r(&seconds, ret_fields) != NULL;
}

void output_local_time(int64_t time_ns, char ret_text[static OUTPUT_TIME])
{
    struct tm fields;

    if (!local_fields(time_ns, &fields) ||
        strftime(ret_text, OUTPUT_TIME, "%Y-%m-%d %H:%M", &fields) == 0)
        snprintf(ret_text, OUTPUT_TIME, "?");
}

void output_local_second(int64_t time_ns, char ret_text[static OUTPUT_TIME])
{
    struct tm fields;

    if (!local_fields(time_ns, &fields) ||
        strftime(ret_text, OUTPUT_TIME, "%Y-%m-%d %H:%M:%S", &fields) == 0)
        snprintf(ret_text, OUTPUT_TIME, "?");
}

void output_rfc3339(int64_t time_ns, char ret_text[static OUTPUT_TIME])
{
    time_t seconds = time_ns / NS_PER_S;
    struct tm fields;

    if (!gmtime_r(&seconds, &fields) ||
        strftime(ret_text, OUTPUT_TIME, "%Y-%m-%dT%H:%M:%SZ", &fields) == 0)
        snprintf(ret_text, OUTPUT_TIME, "?");
}

json_t *output_json_time(int64_t time_ns)
{
    char text[OUTPUT_TIME];

    output_rfc3339(time_ns, text);
    return json_string(text);
}

json_t *output_json_number(uint32_t number)
{
    return number ? json_integer(number) : json_null();
}

const char *output_refusal(const struct store_attr *attr)
{
    enum store_err err = store_refusal(attr);
    if (err == STORE_ERR_REVOKED)
        return "revoked";
    return err == STORE_ERR_EXPIRED ? "expired" : "";
}

json_t *output_json_node(const char *path, const struct store_attr *attr)
{
    bool secret = attr->kind == STORE_SECRET;
    char mode[8];

    snprintf(mode, sizeof(mode), "%04o", attr->mode & 0777U);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "path", path, "type", secret ? "secret" : "directory", "owner",
                     names_user(attr->uid), "uid", (json_int_t)attr->uid, "group",
                     names_group(attr->gid), "gid", (json_int_t)attr->gid, "mode", mode, "acl",
                     attr->has_acl, "size", secret ? json_integer(attr->size_bytes) : json_null(),
                     "version", output_json_number(attr->number), "previous",
                     output_json_number(attr->previous_number), "pending",
                     output_json_number(attr->pending_number), "revoked",
                     secret ? json_boolean(attr->revoked) : json_null(), "expires",
                     attr->expires_ns ? output_json_time(attr->expires_ns) : json_null(),
                     "modified", output_json_time(attr->mtime_ns));
}

static json_t *json_acl_name(const struct acl_line *line)
{
    if (!line->named)
        return json_null();
    return json_string(line->kind == ACL_USER ? names_user(line->id) : names_group(line->id));
}

json_t *output_json_acl(const struct policy *policy)
{
    struct acl_line lines[ACL_LINES_MAX];
    size_t count = aclspec_lines(policy, lines);
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        char perm[MODE_PERM_TEXT];
        char effective[MODE_PERM_TEXT];
        mode_print_perm(lines[i].perm, perm);
        mode_print_perm(lines[i].effective, effective);
        json_array_append_new(array,
                              json_pack("{s:s, s:o, s:o, s:s, s:s}", "tag", lines[i].tag, "name",
                                        json_acl_name(&lines[i]), "id",
                                        lines[i].named ? json_integer(lines[i].id) : json_null(),
                                        "perm", perm, "effective", effective));
    }
    return array;
}

enum status output_json(const struct task *task, json_t *value)
{
    bool failed;

    if (!value)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    failed = json_dumpf(value, stdout, JSON_INDENT(2)) != 0;
    json_decref(value);
    /* A failing standard output is noticed, and reported, once for all at the end. */
    if (failed && !ferror(stdout))
        return fail_code(task, STORE_ERR_NO_MEMORY);
    putchar('\n');
    return STATUS_DONE;
}

enum status output_labels(struct store *store, const struct task *task)
{
    AUTO_FREE char *path = store_plain_path(task->object);
    struct store_attr attr;
    enum store_err err = store_resolve(store, task->object, &attr);

    if (err != STORE_OK)
        return fail_store(task, err);
    return output_json(task, json_pack("{s:s, s:I, s:o, s:o}", "path", path ? path : "", "version",
                                       (json_int_t)attr.number, "previous",
                                       output_json_number(attr.previous_number), "pending",
                                       output_json_number(attr.pending_number)));
}
