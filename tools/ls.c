/*
 * secretctl ls: names, and with -l what ls(1) would say of them, from the index alone: no value is
 * decrypted.
 */
#include "auto.h"
#include "commands.h"
#include "listing.h"
#include "mode.h"
#include "names.h"
#include "output.h"
#include "text.h"
#include "unlock.h"

#include <inttypes.h>
#include <string.h>

enum { OPTION_DELETED = CLI_OPTION_FIRST };

const struct cli_option ls_options[] = {
    {'l', "long", NULL, "mode, owner, group, size, date and version too"},
    {'R', "recursive", NULL, "all below it, with whole paths"},
    {OPTION_DELETED, "deleted", NULL, "what was removed, when, and until when it can be restored"},
    {0, NULL, NULL, NULL},
};

/* The texts of a line of -l, and the width of each column over all lines. */
enum column { COLUMN_OWNER, COLUMN_GROUP, COLUMN_SIZE, COLUMN_VERSION, COLUMNS };

struct columns {
    char text[COLUMNS][64];
};

static void fill_columns(const struct store_attr *attr, struct columns *ret)
{
    snprintf(ret->text[COLUMN_OWNER], sizeof(ret->text[0]), "%s", names_user(attr->uid));
    snprintf(ret->text[COLUMN_GROUP], sizeof(ret->text[0]), "%s", names_group(attr->gid));
    if (attr->kind == STORE_SECRET) {
        snprintf(ret->text[COLUMN_SIZE], sizeof(ret->text[0]), "%" PRIu32, attr->size_bytes);
        const char *refusal = output_refusal(attr);
        snprintf(ret->text[COLUMN_VERSION], sizeof(ret->text[0]), "v%" PRIu32 "%s%s", attr->number,
                 refusal[0] ? "," : "", refusal);
    } else {
        snprintf(ret->text[COLUMN_SIZE], sizeof(ret->text[0]), "-");
        snprintf(ret->text[COLUMN_VERSION], sizeof(ret->text[0]), "-");
    }
}

static void measure(const struct listing *listing, int ret_widths[static COLUMNS])
{
    struct columns columns;

    memset(ret_widths, 0, COLUMNS * sizeof(*ret_widths));
    for (size_t i = 0; i < listing->count; i++) {
        fill_columns(&listing->items[i].attr, &columns);
        for (int c = 0; c < COLUMNS; c++) {
            int width = (int)strlen(columns.text[c]);
            if (width > ret_widths[c])
                ret_widths[c] = width;
        }
    }
}

static void print_long(const struct entry *entry, const int widths[static COLUMNS])
{
    const struct store_attr *attr = &entry->attr;
    struct columns columns;
    char mode[MODE_TEXT];
    char date[OUTPUT_TIME];

    fill_columns(attr, &columns);
    mode_print(attr->mode, mode);
    output_local_time(entry->deleted_ns ? entry->deleted_ns : attr->mtime_ns, date);
    printf("%c%s%c %-*s %-*s %*s %s %*s%s", attr->kind == STORE_DIRECTORY ? 'd' : '-', mode,
           attr->has_acl ? '+' : ' ', widths[COLUMN_OWNER], columns.text[COLUMN_OWNER],
           widths[COLUMN_GROUP], columns.text[COLUMN_GROUP], widths[COLUMN_SIZE],
           columns.text[COLUMN_SIZE], date, widths[COLUMN_VERSION], columns.text[COLUMN_VERSION],
           entry->deleted_ns ? "" : " ");
}

/* Until when it can be restored, or could be. */
static void print_until(const struct entry *entry)
{
    char date[OUTPUT_TIME];

    output_local_time(entry->attr.purge_ns, date);
    printf(" until %s ", date);
}

static void print_listing(const struct cli *cli, const struct listing *listing, bool whole_paths)
{
    bool is_long = cli_has(cli, 'l');
    int widths[COLUMNS];

    if (is_long)
        measure(listing, widths);
    for (size_t i = 0; i < listing->count; i++) {
        const struct entry *entry = &listing->items[i];
        if (is_long) {
            print_long(entry, widths);
        } else if (entry->deleted_ns) {
            char date[OUTPUT_TIME];
            output_local_time(entry->deleted_ns, date);
            fputs(date, stdout);
        }
        if (entry->deleted_ns)
            print_until(entry);
        text_print(stdout, entry->path + (whole_paths ? 0 : entry->name_at));
        putchar('\n');
    }
}

static json_t *listing_json(const struct listing *listing)
{
    json_t *array = json_array();

    for (size_t i = 0; i < listing->count; i++) {
        const struct entry *entry = &listing->items[i];
        json_t *node = output_json_node(entry->path, &entry->attr);
        if (entry->deleted_ns)
            json_object_set_new(node, "deleted", output_json_time(entry->deleted_ns));
        if (entry->deleted_ns)
            json_object_set_new(node, "restorable_until", output_json_time(entry->attr.purge_ns));
        if (json_array_append_new(array, node) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static enum store_err collect(const struct cli *cli, const char *path, bool *ret_single,
                              struct listing *listing)
{
    struct store_attr attr;
    enum store_err err;

    *ret_single = false;
    if (cli_has(cli, OPTION_DELETED))
        return listing_deleted(cli->store, path, listing);
    err = store_resolve(cli->store, path, &attr);
    if (err != STORE_OK)
        return err;
    *ret_single = attr.kind == STORE_SECRET;
    if (*ret_single)
        return listing_add(listing, path, &attr);
    return listing_directory(cli->store, path, attr.node, cli_has(cli, 'R'), listing);
}

enum status ls_run(struct cli *cli)
{
    LISTING_AUTO struct listing listing = LISTING_INIT;
    const struct task task = {"list", cli->operand_count > 0 ? cli->operands[0] : "/"};
    AUTO_FREE char *path = store_plain_path(task.object);
    enum status status;
    enum store_err err;
    bool single;

    if (!path)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    status = unlock_store(cli, STORE_READ_ONLY);
    if (status != STATUS_DONE)
        return status;
    err = collect(cli, path, &single, &listing);
    if (err != STORE_OK)
        return fail_store(&task, err);
    if (cli->json)
        return output_json(&task, listing_json(&listing));
    print_listing(cli, &listing, single || cli_has(cli, 'R') || cli_has(cli, OPTION_DELETED));
    return STATUS_DONE;
}
