/*
 * Who does it is the process's real user, or whom sudo ran it for: root may say what it likes, so
 * that only root is believed.
 */
#include "record.h"

#include "audit_journal.h"
#include "auto.h"
#include "identity.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct record {
    struct audit_log *log;
    struct audit_journal *journal; /* for copies, or NULL */
    char *name;                    /* of the record of a new store, */
    char *former;                  /* the name that an older one has got, or NULL */
    bool was_made;                 /* and whether there was no such file */
    struct identity identity;
    struct audit_actor who;
};

static bool is_off(const struct cli *cli)
{
    return cli->audit && strcmp(cli->audit, AUDIT_NONE) == 0;
}

char *record_name(const struct cli *cli)
{
    const char *file = is_off(cli) ? NULL : cli->audit;
    AUTO_FREE char *path =
        cli->store ? strdup(store_path(cli->store)) : realpath(cli->store_path, NULL);

    return audit_file_name(path ? path : cli->store_path, file);
}

/* A number that sudo(8) left in the environment. */
static bool sudo_number(const char *name, uint32_t *ret_number)
{
    const char *text = getenv(name);
    return text && text_number(text, UINT32_MAX - 1, ret_number);
}

static const char *known(const char *text)
{
    return text[0] ? text : NULL;
}

static void find_who(struct record *record)
{
    struct audit_actor *who = &record->who;
    uint32_t uid;

    *who = (struct audit_actor){.uid = getuid(), .gid = getgid(), .pid = (uint32_t)getpid()};
    if (getuid() == 0 && sudo_number("SUDO_UID", &uid)) {
        who->uid = uid;
        who->sudo = true;
        if (!sudo_number("SUDO_GID", &who->gid))
            who->gid = UINT32_MAX;
    }
    if (!identity_of((uint32_t)gettid(), &record->identity))
        return;
    who->executable = known(record->identity.executable);
    who->unit = known(record->identity.unit);
    who->container = known(record->identity.container);
}

/* The file is what counts: where the journal can't be had, the command goes on. */
static void copy_to_journal(const struct store *store, struct record *record)
{
    int fd;
    enum audit_journal_kind kind = audit_journal_find(&fd);

    if (kind != AUDIT_JOURNAL_NONE)
        record->journal = audit_journal_new(kind, fd, "secretctl", store_path(store));
    if (record->journal)
        audit_log_copy(record->log, record->journal);
    else
        fail_remark("lines of the record don't get to the journal: nothing takes them "
                    "at " AUDIT_JOURNAL_SOCKET " or " AUDIT_SYSLOG_SOCKET);
}

static enum store_err open_log(const struct cli *cli, struct store *store, struct record *record)
{
    struct audit_head before;
    int fd;
    enum store_err err =
        audit_file_open(store_path(store), cli->audit, AUDIT_MISSING_JOINS, &fd, &before);

    if (!err)
        err = audit_log_new(store, fd, &before, &record->log);
    if (err)
        return err;
    if (cli->audit_journal)
        copy_to_journal(store, record);
    audit_use(store, record->log, &record->who);
    return STORE_OK;
}

enum status record_begin(struct cli *cli)
{
    AUTO_FREE char *name = record_name(cli);
    const struct task task = {"record in", name ? name : "the record"};

    if (is_off(cli) || cli->record)
        return STATUS_DONE;
    cli->record = calloc(1, sizeof *cli->record);
    if (cli->record == NULL)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    find_who(cli->record);
    enum store_err err = open_log(cli, cli->store, cli->record);
    if (err != STORE_OK)
        return fail_store(&task, err);
    if (audit_tampered(cli->record->log))
        fail_remark("lines are missing at the end of the record; see 'secretctl audit verify'");
    return STATUS_DONE;
}

/* ---- Of a new store ------------------------------------------------------ */

enum status record_check_new(const struct cli *cli, const struct task *task)
{
    bool any;

    if (cli->audit == NULL || is_off(cli))
        return STATUS_DONE;
    enum store_err err = audit_files_any(cli->audit, &any);
    if (err != STORE_OK)
        return fail_store(task, err);
    return any ? fail(task, STATUS_FAILED, "name another, or give that one another name",
                      "the record '%s' has lines already, which are of another store", cli->audit)
               : STATUS_DONE;
}

static enum store_err make_way(const struct cli *cli, struct record *record)
{
    bool any;
    enum store_err err = audit_files_any(record->name, &any);

    if (!err && any && cli->audit == NULL)
        err = audit_files_set_aside(record->name, &record->former);
    record->was_made = access(record->name, F_OK) != 0;
    return err;
}

enum store_err record_begin_new(void *arg, struct store *store)
{
    struct cli *cli = arg;

    if (is_off(cli))
        return STORE_OK;
    cli->record = calloc(1, sizeof *cli->record);
    if (cli->record)
        cli->record->name = audit_file_name(store_path(store), cli->audit);
    if (cli->record == NULL || cli->record->name == NULL)
        return STORE_ERR_NO_MEMORY;
    find_who(cli->record);
    enum store_err err = make_way(cli, cli->record);
    return err ? err : open_log(cli, store, cli->record);
}

void record_undo_new(struct cli *cli)
{
    const struct record *record = cli->record;

    if (record == NULL || record->name == NULL)
        return;
    if (record->was_made)
        unlink(record->name);
    else if (record->log && truncate(record->name, 0) != 0)
        return;
    if (record->former)
        audit_files_put_back(record->name, record->former);
}

const char *record_former(const struct cli *cli)
{
    return cli->record ? cli->record->former : NULL;
}

/* ---- Reading, and the end ------------------------------------------------ */

static const char *result_word(enum store_err err)
{
    if (err == STORE_OK)
        return "ok";
    if (err == STORE_ERR_REVOKED)
        return "EKEYREVOKED";
    return err == STORE_ERR_EXPIRED ? "EKEYEXPIRED" : "EIO";
}

enum status record_read(struct cli *cli, const struct task *task, uint32_t number,
                        enum store_err result)
{
    AUTO_FREE char *path = store_plain_path(task->object);
    enum status status = record_begin(cli);

    if (status != STATUS_DONE || cli->record == NULL)
        return status;
    if (path == NULL)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    const struct audit_entry entry = {
        .event = AUDIT_GET,
        .path = path,
        .version = number,
        .who = cli->record->who,
        .result = result_word(result),
    };
    enum store_err err = audit_append(cli->record->log, &entry, NULL, NULL);
    if (err == STORE_OK)
        err = audit_sync(cli->record->log);
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}

void record_end(struct cli *cli)
{
    int error;

    if (cli->record == NULL)
        return;
    if (cli->record->journal && audit_journal_lost(cli->record->journal, &error))
        fail_remark("not all lines of the record got to the journal, which did not take them");
    audit_log_free(cli->record->log);
    audit_journal_free(cli->record->journal);
    free(cli->record->name);
    free(cli->record->former);
    free(cli->record);
    cli->record = NULL;
}
