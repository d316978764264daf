/*
 * secretctl show: everything about a secret or directory but the value, which is not even
 * decrypted.
 */
#include "auto.h"
#include "commands.h"
#include "mode.h"
#include "names.h"
#include "output.h"
#include "ruled.h"
#include "schedule.h"
#include "text.h"
#include "unlock.h"

#include <inttypes.h>

struct shown {
    const char *path;
    struct store_attr attr;
    struct policy policy;
    struct store_details details;
    struct ruled *above; /* directories on the way that have rules */
    uint64_t entries;    /* of a directory */
};

static bool count_entry(void *arg, const char *name, const struct store_attr *attr)
{
    uint64_t *count = arg;

    (void)name;
    (void)attr;
    (*count)++;
    return true;
}

static enum store_err look(struct store *store, struct shown *shown)
{
    enum store_err err = store_resolve(store, shown->path, &shown->attr);

    if (err == STORE_OK)
        err = store_policy(store, shown->attr.node, &shown->policy);
    if (err == STORE_OK)
        err = store_details(store, shown->attr.node, &shown->details);
    if (err == STORE_OK)
        err = ruled_find(store, shown->path, &shown->above);
    if (err == STORE_OK && shown->attr.kind == STORE_DIRECTORY)
        err = store_list(store, shown->attr.node, 0, count_entry, &shown->entries);
    return err;
}

/* In one line, as setfacl(1) takes it. */
static void print_acl(const struct policy *policy)
{
    struct acl_line lines[ACL_LINES_MAX];
    size_t count = aclspec_lines(policy, lines);

    if (!policy->extended)
        return;
    printf("acl:         ");
    for (size_t i = 0; i < count; i++) {
        const char *name = "";
        char perm[MODE_PERM_TEXT];
        if (lines[i].named)
            name = lines[i].kind == ACL_USER ? names_user(lines[i].id) : names_group(lines[i].id);
        mode_print_perm(lines[i].perm, perm);
        printf("%s%s:%s:%s", i == 0 ? "" : ",", lines[i].tag, name, perm);
    }
    putchar('\n');
}

static void print_time(const char *label, int64_t time_ns)
{
    char text[OUTPUT_TIME];

    output_local_time(time_ns, text);
    printf("%-12s %s\n", label, text);
}

static void print_rotation(const struct store_details *details)
{
    const struct schedule schedule = schedule_of(details);

    if (!schedule_set(&schedule))
        return;
    printf("rotation:    ");
    schedule_print(&schedule);
    putchar('\n');
}

static void print_shown(const struct shown *shown)
{
    const struct store_attr *attr = &shown->attr;
    bool secret = attr->kind == STORE_SECRET;
    char mode[MODE_TEXT];

    mode_print(attr->mode, mode);
    printf("path:        ");
    text_print(stdout, shown->path);
    printf("\ntype:        %s\n", secret ? "secret" : "directory");
    printf("owner:       %s (%" PRIu32 ")\n", names_user(attr->uid), attr->uid);
    printf("group:       %s (%" PRIu32 ")\n", names_group(attr->gid), attr->gid);
    printf("mode:        %04o (%s)\n", attr->mode & 0777U, mode);
    print_acl(&shown->policy);
    ruled_print(&shown->details.rules, shown->above);
    if (shown->details.description[0]) {
        printf("description: ");
        text_print(stdout, shown->details.description);
        putchar('\n');
    }
    if (secret) {
        printf("version:     %" PRIu32 "%s\n", attr->number, attr->revoked ? " (revoked)" : "");
        if (attr->previous_number)
            printf("previous:    %" PRIu32 "\n", attr->previous_number);
        if (attr->pending_number)
            printf("pending:     %" PRIu32 "\n", attr->pending_number);
        printf("size:        %" PRIu32 "\n", attr->size_bytes);
        printf("versions:    %" PRIu32 "\n", shown->details.version_count);
        if (attr->expires_ns)
            print_time("expires:", attr->expires_ns);
        print_rotation(&shown->details);
    } else {
        printf("entries:     %" PRIu64 "\n", shown->entries);
    }
    print_time("created:", shown->details.created_ns);
    print_time("modified:", attr->mtime_ns);
    print_time("changed:", attr->ctime_ns);
}

static json_t *rotation_json(const struct store_details *details)
{
    const struct schedule schedule = schedule_of(details);

    return schedule_set(&schedule) ? schedule_json(&schedule) : json_null();
}

static json_t *shown_json(const struct shown *shown)
{
    json_t *node = output_json_node(shown->path, &shown->attr);

    if (!node)
        return NULL;
    json_object_set_new(node, "acl_entries", output_json_acl(&shown->policy));
    json_object_set_new(node, "allowed", ruled_json(&shown->details.rules));
    json_object_set_new(node, "allowed_above", ruled_json_above(shown->above));
    json_object_set_new(node, "description", json_string(shown->details.description));
    json_object_set_new(node, "created", output_json_time(shown->details.created_ns));
    json_object_set_new(node, "changed", output_json_time(shown->attr.ctime_ns));
    if (shown->attr.kind == STORE_SECRET) {
        json_object_set_new(node, "versions", json_integer(shown->details.version_count));
        json_object_set_new(node, "rotation", rotation_json(&shown->details));
    } else {
        json_object_set_new(node, "entries", json_integer((json_int_t)shown->entries));
    }
    return node;
}

enum status show_run(struct cli *cli)
{
    const struct task task = {"show", cli->operands[0]};
    AUTO_FREE char *path = store_plain_path(cli->operands[0]);
    struct shown shown = {.path = path};
    enum status status;
    enum store_err err;

    if (!path)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    status = unlock_store(cli, STORE_READ_ONLY);
    if (status != STATUS_DONE)
        return status;
    err = look(cli->store, &shown);
    if (err != STORE_OK)
        status = fail_store(&task, err);
    else if (cli->json)
        status = output_json(&task, shown_json(&shown));
    else
        print_shown(&shown);
    ruled_release(shown.above);
    return status;
}
