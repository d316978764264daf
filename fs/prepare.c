/*
 * See prepare.h. Runs once, before there is any other process.
 */
#include "prepare.h"
#include "anchor.h"
#include "audit_journal.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Who the worker runs as: the owner of the store, or who the options say. */
static bool set_worker_user(const struct options *options, struct handoff *handoff)
{
    struct stat st;
    if (options->user) {
        handoff->uid = options->uid;
        handoff->gid = options->gid;
        return true;
    }
    if (stat(handoff->store, &st) != 0) {
        log_system_error("open the store", handoff->store, errno);
        return false;
    }
    handoff->uid = st.st_uid;
    handoff->gid = st.st_gid;
    return true;
}

bool prepare_handoff(const struct options *options, const char *store, struct handoff *handoff)
{
    *handoff = (struct handoff){.workers = options->workers,
                                .direct_io = options->direct_io,
                                .audit_sync = options->audit_sync,
                                .audit_optional = options->audit_optional,
                                .debug = options->debug,
                                .allow_swap = options->allow_swap,
                                .log_levels = log_has_levels()};
    if (snprintf(handoff->store, sizeof handoff->store, "%s", store) >=
            (int)sizeof handoff->store ||
        snprintf(handoff->subdir, sizeof handoff->subdir, "%s",
                 options->subdir ? options->subdir : "") >= (int)sizeof handoff->subdir) {
        log_system_error("serve", store, ENAMETOOLONG);
        return false;
    }
    return set_worker_user(options, handoff);
}

/* What an option says, or a variable where it is not given; NULL: neither. */
static const char *named_by(const char *option, const char *variable)
{
    const char *name = option ? option : getenv(variable);
    return name && name[0] ? name : NULL;
}

enum store_err prepare_anchor(const struct options *options, const char *store,
                              const unsigned char uuid[static STORE_UUID_BYTES],
                              struct supervisor *supervisor)
{
    const char *named = named_by(options->anchor, ANCHOR_VARIABLE);
    struct anchor_file file;
    enum store_err err = anchor_open(store, uuid, named, &file);

    if (!err && !file.writable) {
        struct anchor_file read_only = file;
        log_warning("the anchor of '%s' can't be written; an older copy may go unnoticed when "
                    "this daemon has ended",
                    store);
        err = anchor_in_memory(&read_only, &file);
        supervisor->anchor_in_memory = true;
        if (read_only.fd >= 0)
            close(read_only.fd);
    }
    if (!err)
        supervisor->anchor_fd = file.fd;
    else if (store_fault()->sys_errno)
        log_system_error("use the anchor in", named ? named : "the folder of the store",
                         store_fault()->sys_errno);
    else
        log_store_error("use the anchor of", store, err);
    return err;
}

/* Where the options or the environment ask for copies: it is to be seen now that they go nowhere.
 */
static bool prepare_journal(const struct options *options, struct supervisor *s)
{
    if (!options->audit_journal && named_by(NULL, AUDIT_JOURNAL_VARIABLE) == NULL)
        return true;
    enum audit_journal_kind kind = audit_journal_find(&s->journal_fd);
    s->handoff.audit_journal = kind;
    if (kind == AUDIT_JOURNAL_NONE)
        log_error("cannot send the record to the journal: nothing takes it at " AUDIT_JOURNAL_SOCKET
                  " or " AUDIT_SYSLOG_SOCKET "; start one, or leave out 'audit_journal'");
    return kind != AUDIT_JOURNAL_NONE;
}

bool prepare_reads(const struct options *options, const char *store, struct supervisor *s)
{
    const char *name = named_by(options->audit, AUDIT_VARIABLE);

    s->handoff.audit_none = name && strcmp(name, AUDIT_NONE) == 0;
    s->reads.store = store;
    s->reads.name = name;
    if (s->handoff.audit_none)
        return true;
    reads_file_find_place(&s->reads);
    return prepare_journal(options, s) && (reads_file_open(&s->reads) || options->audit_optional);
}
