/*
 * See audit_verified.h. The store is opened and loaded first: the record may only have grown since.
 */
#include "audit_verified.h"

#include "audit_query.h"
#include "audit_verify.h"
#include "auto.h"
#include "control.h"
#include "output.h"
#include "record.h"
#include "unlock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK_MS 1000
#define DAEMONS_MAX 64 /* control.c asks no more */

/* The ends of the record that daemons tell, which write to it. */
struct told {
    char place[PATH_MAX]; /* of the record; "": not known */
    struct audit_head ends[DAEMONS_MAX];
    size_t count;
};

static void take_reply(void *arg, const struct control_reply *reply)
{
    struct told *told = arg;

    if (reply->error == 0 && told->count < DAEMONS_MAX && strcmp(reply->record, told->place) == 0)
        told->ends[told->count++] = reply->record_end;
}

/* Before the files are opened, as lines are added meanwhile. Of files that were named no daemon
 * knows. */
static enum status ask_daemons(const struct cli *cli, struct told *ret_told)
{
    const struct task task = {"ask the daemons of", cli->store_path};
    AUTO_FREE char *name = record_name(cli);
    size_t count;

    if (cli_has(cli, AUDIT_OPTION_FILE))
        return STATUS_DONE;
    if (name == NULL)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    if (!audit_file_place(store_path(cli->store), name, ret_told->place))
        return STATUS_DONE;
    enum store_err err =
        control_ask(cli->store, CONTROL_STATUS, 0, ASK_MS, take_reply, ret_told, &count);
    return err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
}

static const char *flaw_word(enum audit_flaw flaw)
{
    switch (flaw) {
    case AUDIT_FLAW_NONE:
        return "none";
    case AUDIT_FLAW_CHANGED:
        return "changed";
    case AUDIT_FLAW_MISSING:
        return "missing";
    case AUDIT_FLAW_MOVED:
        return "moved";
    case AUDIT_FLAW_DOUBLED:
        return "doubled";
    case AUDIT_FLAW_CUT:
        return "cut";
    }
    return "";
}

static enum status fail_flaw(const struct audit_report *r, const char *file)
{
    const struct task task = {"verify the record", file};
    const char *next = "what is before it is as it was written";

    switch (r->flaw) {
    case AUDIT_FLAW_NONE:
        return STATUS_DONE;
    case AUDIT_FLAW_CHANGED:
        return fail(&task, STATUS_INTEGRITY, next, "line %" PRIu64 " was changed", r->line);
    case AUDIT_FLAW_MISSING:
        return fail(&task, STATUS_INTEGRITY, next,
                    "%" PRIu64 " lines are missing before line %" PRIu64, r->missing, r->line);
    case AUDIT_FLAW_MOVED:
        return fail(&task, STATUS_INTEGRITY, next, "line %" PRIu64 " belongs further up", r->line);
    case AUDIT_FLAW_DOUBLED:
        return fail(&task, STATUS_INTEGRITY, next, "line %" PRIu64 " stands there a second time",
                    r->line);
    case AUDIT_FLAW_CUT:
        break;
    }
    if (r->missing)
        return fail(&task, STATUS_INTEGRITY, next,
                    "%" PRIu64 " lines are missing behind line %" PRIu64 ", the last one",
                    r->missing, r->line);
    return fail(&task, STATUS_INTEGRITY, next,
                "others stand for the lines up to %" PRIu64 " that were there", r->line);
}

static void print_count(uint64_t count, const char *what)
{
    if (count)
        printf("%" PRIu64 " %s\n", count, what);
}

static void print_report(const struct audit_report *r, const struct told *told)
{
    if (r->lines == 0)
        puts("the record is empty");
    else
        printf("the record is as it was written: %" PRIu64 " lines, from %s to %s\n", r->lines,
               r->first, r->last);
    print_count(r->unchecked,
                "at the beginning can't be checked: what was before them is not here");
    print_count(r->incomplete, "incomplete lines, left by writers that were killed or a full disk");
    print_count(r->late, "lines were written to a file after it had been rotated away");
    if (told->count == 0)
        puts("no daemon tells how far it goes: lines that are missing at its end, behind the "
             "store's last commit, can't be noticed");
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *report_json(const struct audit_report *r, const struct told *told, const char *file)
{
    bool bad = r->flaw != AUDIT_FLAW_NONE;

    return json_pack("{s:b, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o}", "valid", !bad,
                     "lines", (json_int_t)r->lines, "first", text_or_null(r->first), "last",
                     text_or_null(r->last), "unchecked", (json_int_t)r->unchecked, "incomplete",
                     (json_int_t)r->incomplete, "late", (json_int_t)r->late, "daemons",
                     (json_int_t)told->count, "flaw", flaw_word(r->flaw), "file",
                     bad ? json_string(file) : json_null(), "line",
                     bad ? json_integer((json_int_t)r->line) : json_null(), "missing",
                     r->missing ? json_integer((json_int_t)r->missing) : json_null());
}

static enum status verify(const struct cli *cli, const struct audit_files *files, const int *fds,
                          const struct told *told)
{
    const struct audit_evidence evidence = {fds, files->count, told->ends, told->count};
    const struct task task = {"verify", "the record"};
    struct audit_report report;
    enum store_err err = audit_verify(cli->store, &evidence, &report);
    enum status status;

    if (err != STORE_OK)
        return fail_store(&task, err);
    status = fail_flaw(&report, files->names[report.file]);
    if (cli->json) {
        enum status printed =
            output_json(&task, report_json(&report, told, files->names[report.file]));
        return status == STATUS_DONE ? printed : status;
    }
    if (status == STATUS_DONE)
        print_report(&report, told);
    return status;
}

/* A record that was just rotated away has no last file yet. */
static enum status open_all(struct audit_files *files, int *ret_fds)
{
    for (size_t i = 0; i < files->count; i++) {
        ret_fds[i] = open(files->names[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (ret_fds[i] >= 0)
            continue;
        if (errno != ENOENT || i == 0 || i + 1 < files->count)
            return audit_query_failed(files->names[i], errno);
        free(files->names[--files->count]);
    }
    return STATUS_DONE;
}

enum status audit_verify_run(struct cli *cli)
{
    struct audit_files files = {0};
    struct told told = {.count = 0};
    enum status status = unlock_store(cli, STORE_READ_ONLY);
    int *fds = NULL;

    if (status == STATUS_DONE)
        status = ask_daemons(cli, &told);
    if (status == STATUS_DONE)
        status = audit_query_files(cli, &files);
    if (status == STATUS_DONE)
        fds = malloc(files.count * sizeof *fds);
    for (size_t i = 0; fds && i < files.count; i++)
        fds[i] = -1;
    size_t count = files.count;
    if (status == STATUS_DONE)
        status = fds ? open_all(&files, fds)
                     : fail_code(&(struct task){"verify", "the record"}, STORE_ERR_NO_MEMORY);
    if (status == STATUS_DONE)
        status = verify(cli, &files, fds, &told);
    for (size_t i = 0; fds && i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(fds);
    audit_files_release(&files);
    return status;
}
