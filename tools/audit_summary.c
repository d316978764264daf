/*
 * See audit_summary.h. What nobody has read, and what was never rotated, takes a look into the
 * store, and so the key; without one the rest is told all the same.
 */
#include "audit_summary.h"

#include "audit_scan.h"
#include "audit_tally.h"
#include "auto.h"
#include "credential.h"
#include "listing.h"
#include "names.h"
#include "output.h"
#include "text.h"
#include "unlock.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

struct summary {
    const struct audit_query *query;
    struct tally tally;
    bool failed;             /* out of memory */
    bool looked;             /* into the store */
    struct listing unread;   /* secrets that nobody has read in that time */
    struct listing original; /* secrets in their first version */
};

/* ---- Counting ------------------------------------------------------------ */

static bool count_line(void *arg, const char *line, size_t len)
{
    struct summary *summary = arg;
    int64_t time_ns;
    json_t *entry = audit_scan_time(line, len, &time_ns) ? json_loadb(line, len, 0, NULL) : NULL;

    if (json_is_object(entry) && audit_query_wants(summary->query, entry, time_ns)) {
        if (summary->tally.begin_ns == 0)
            summary->tally.begin_ns = time_ns;
        summary->failed = !tally_add(&summary->tally, entry, time_ns);
    }
    json_decref(entry);
    return !summary->failed;
}

static enum status count_lines(const struct cli *cli, struct summary *summary)
{
    struct audit_scan scan = {
        .since_ns = summary->query->since_ns, .visit = count_line, .arg = summary};
    struct audit_files files;
    struct timespec now;
    const char *file;
    enum status status = audit_query_files(cli, &files);

    clock_gettime(CLOCK_REALTIME, &now);
    summary->tally.begin_ns = summary->query->since_ns;
    summary->tally.end_ns = (int64_t)now.tv_sec * SECOND_NS;
    if (status == STATUS_DONE) {
        int failed = audit_scan(&scan, &files, false, &file);
        status = failed ? audit_query_failed(file, failed) : STATUS_DONE;
    }
    audit_files_release(&files);
    if (status == STATUS_DONE && summary->failed)
        status = fail_code(&(struct task){"read", "the record"}, STORE_ERR_NO_MEMORY);
    tally_sort(&summary->tally);
    return status;
}

/* ---- The store ----------------------------------------------------------- */

/* Whether it can be unlocked without asking anybody. */
static bool has_key(const struct cli *cli)
{
    const struct credential_named named = {cli->key_file, cli->identity, cli->unlock_command,
                                           cli->passphrase_fd};
    struct credential_source source = {.path = NULL};

    if (credential_choose(cli->store, &named, &source) != STORE_OK)
        return false;
    AUTO_FREE char *path = source.path;
    if (path)
        return access(path, R_OK) == 0;
    return source.kind == STORE_SLOT_PASSPHRASE && cli->passphrase_fd >= 0;
}

static enum store_err sort_secrets(const struct listing *all, struct summary *summary)
{
    enum store_err err = STORE_OK;

    for (size_t i = 0; i < all->count && !err; i++) {
        const struct entry *entry = &all->items[i];
        const char *path = entry->path + (entry->path[0] == '/'); /* as the record has it */
        if (entry->attr.kind != STORE_SECRET)
            continue;
        if (!tally_has_read(&summary->tally, path))
            err = listing_add(&summary->unread, path, &entry->attr);
        if (!err && entry->attr.number == 1)
            err = listing_add(&summary->original, path, &entry->attr);
    }
    return err;
}

static enum status look(struct cli *cli, struct summary *summary)
{
    const struct task task = {"list", "/"};
    LISTING_AUTO struct listing all = LISTING_INIT;
    struct store *probe = NULL;
    enum status status;

    if (store_open(cli->store_path, STORE_READ_ONLY, &probe) != STORE_OK)
        return STATUS_DONE; /* the record may be read where no store is */
    cli->store = probe;
    bool able = has_key(cli);
    unlock_end(cli);
    if (!able)
        return STATUS_DONE;
    status = unlock_store(cli, STORE_READ_ONLY);
    if (status != STATUS_DONE)
        return status;
    summary->looked = true;
    enum store_err err = listing_directory(cli->store, "", STORE_ROOT_ID, true, &all);
    if (err == STORE_OK)
        err = sort_secrets(&all, summary);
    return err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
}

/* ---- Telling ------------------------------------------------------------- */

/* Reads over time: a column's height is by the highest one. */
static void print_chart(const struct tally_entry *entry)
{
    uint64_t most = 1;

    for (size_t i = 0; i < TALLY_COLUMNS; i++)
        most = entry->columns[i] > most ? entry->columns[i] : most;
    for (size_t i = 0; i < TALLY_COLUMNS; i++) {
        uint64_t n = entry->columns[i];
        if (n == 0)
            putchar(' ');
        else /* U+2581 to U+2588 */
            printf("\xe2\x96%c", (char)(0x81 + (n * 8 - 1) / most));
    }
}

static void print_entry(const struct tally_entry *entry)
{
    char first[OUTPUT_TIME];
    char last[OUTPUT_TIME];

    output_local_time(entry->first_ns, first);
    output_local_time(entry->last_ns, last);
    printf("  %-10s %8" PRIu64 " %8" PRIu64 " %-16s %-16s ",
           entry->uid >= 0 ? names_user((uint32_t)entry->uid) : "-", entry->reads, entry->refused,
           first, last);
    print_chart(entry);
    putchar(' ');
    text_print(stdout, entry->executable[0] ? entry->executable : "-");
    putchar('\n');
}

static void print_paths(const char *what, const struct listing *listing)
{
    printf("\n%s:%s\n", what, listing->count ? "" : " none");
    for (size_t i = 0; i < listing->count; i++) {
        fputs("  ", stdout);
        text_print(stdout, listing->items[i].path);
        putchar('\n');
    }
}

static void print_summary(const struct summary *summary)
{
    const struct tally *tally = &summary->tally;
    const char *path = NULL;

    if (tally->count)
        printf("  %-10s %8s %8s %-16s %-16s %-24s %s\n", "USER", "READS", "REFUSED", "FIRST",
               "LAST", "OVER THAT TIME", "BY");
    else
        puts("nobody has read anything");
    for (size_t i = 0; i < tally->count; i++) {
        const struct tally_entry *entry = tally->entries[i];
        if (path == NULL || strcmp(path, entry->path) != 0) {
            path = entry->path;
            text_print(stdout, path);
            putchar('\n');
        }
        print_entry(entry);
    }
    if (!summary->looked) {
        puts("\nwhat nobody reads, and what was never rotated, is left out: it takes the key");
        return;
    }
    print_paths("read by nobody in that time", &summary->unread);
    print_paths("never rotated", &summary->original);
}

static json_t *entry_json(const struct tally_entry *entry)
{
    json_t *columns = json_array();

    for (size_t i = 0; i < TALLY_COLUMNS; i++)
        json_array_append_new(columns, json_integer((json_int_t)entry->columns[i]));
    return json_pack("{s:s, s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o}", "path", entry->path, "user",
                     entry->uid >= 0 ? json_string(names_user((uint32_t)entry->uid)) : json_null(),
                     "uid", entry->uid >= 0 ? json_integer(entry->uid) : json_null(), "executable",
                     entry->executable, "reads", (json_int_t)entry->reads, "refused",
                     (json_int_t)entry->refused, "first", output_json_time(entry->first_ns), "last",
                     output_json_time(entry->last_ns), "columns", columns);
}

static json_t *paths_json(bool looked, const struct listing *listing)
{
    if (!looked)
        return json_null();
    json_t *paths = json_array();
    for (size_t i = 0; i < listing->count; i++)
        json_array_append_new(paths, json_string(listing->items[i].path));
    return paths;
}

static json_t *summary_json(const struct summary *summary)
{
    const struct tally *tally = &summary->tally;
    json_t *readers = json_array();

    for (size_t i = 0; i < tally->count; i++)
        json_array_append_new(readers, entry_json(tally->entries[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "since",
                     tally->begin_ns ? output_json_time(tally->begin_ns) : json_null(), "until",
                     output_json_time(tally->end_ns), "readers", readers, "unread",
                     paths_json(summary->looked, &summary->unread), "never_rotated",
                     paths_json(summary->looked, &summary->original));
}

enum status audit_summary_run(struct cli *cli, const struct audit_query *query)
{
    const struct task task = {"summarize", "the record"};
    struct summary summary = {.query = query};
    enum status status = count_lines(cli, &summary);

    if (status == STATUS_DONE)
        status = look(cli, &summary);
    if (status == STATUS_DONE && cli->json)
        status = output_json(&task, summary_json(&summary));
    else if (status == STATUS_DONE)
        print_summary(&summary);
    tally_release(&summary.tally);
    listing_release(&summary.unread);
    listing_release(&summary.original);
    return status;
}
