/*
 * Changes on their way into the record. FORMAT.md, "The record".
 */
#include "audit_change.h"
#include "fault.h"
#include "grow.h"
#include "policy.h"
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void audit_use(struct store *store, struct audit_log *log, const struct audit_actor *who)
{
    store->audit.log = log;
    store->audit.who = *who;
}

void audit_use_event(struct store *store, enum audit_event event)
{
    store->audit.named = true;
    store->audit.name = event;
}

/* ---- Noting -------------------------------------------------------------- */

static struct audit_change *add(struct audit_changes *changes)
{
    struct audit_change *items =
        grow(changes->items, changes->count, &changes->capacity, sizeof *items);

    if (items == NULL)
        return NULL;
    changes->items = items;
    changes->items[changes->count] = (struct audit_change){0};
    return &changes->items[changes->count++];
}

static bool is_named_by_command(enum audit_event event)
{
    return event == AUDIT_PUT || event == AUDIT_LABEL || event == AUDIT_ROLLBACK;
}

void audit_note(struct store *store, enum audit_event event, const char *path, uint32_t version,
                const char *format, ...)
{
    struct audit_changes *changes = &store->audit;
    char detail[AUDIT_CHANGE_DETAIL];
    va_list args;

    if (changes->log == NULL)
        return;
    struct audit_change *change = add(changes);
    if (change == NULL) {
        changes->failed = true;
        return;
    }
    change->event = changes->named && is_named_by_command(event) ? changes->name : event;
    change->version = version;
    change->path = path ? store_plain_path(path) : NULL;
    if (format) {
        va_start(args, format);
        vsnprintf(detail, sizeof detail, format, args);
        va_end(args);
        change->detail = strdup(detail);
    }
    if ((path && change->path == NULL) || (format && change->detail == NULL))
        changes->failed = true;
}

void audit_note_policy(struct store *store, const char *path, const struct policy *from,
                       const struct policy *to)
{
    char text[256] = "";
    size_t used = 0;
    struct policy same_acl = *to;

    if (from->uid != to->uid)
        used += (size_t)snprintf(text + used, sizeof text - used, ", owner %u -> %u", from->uid,
                                 to->uid);
    if (from->gid != to->gid)
        used += (size_t)snprintf(text + used, sizeof text - used, ", group %u -> %u", from->gid,
                                 to->gid);
    if (from->mode != to->mode)
        used += (size_t)snprintf(text + used, sizeof text - used, ", mode %04o -> %04o", from->mode,
                                 to->mode);
    same_acl.uid = from->uid;
    same_acl.gid = from->gid;
    same_acl.mode = from->mode;
    if (!policy_equal(from, &same_acl))
        snprintf(text + used, sizeof text - used, ", ACL of %u entries -> %u", from->entry_count,
                 to->entry_count);
    audit_note(store, AUDIT_POLICY, path, 0, "%s", text[0] ? text + 2 : text);
}

/* ---- Recording ----------------------------------------------------------- */

static enum store_err append(struct store *store, const struct audit_change *change,
                             const char *result)
{
    const struct audit_entry entry = {
        .event = change->event,
        .path = change->path,
        .version = change->version,
        .who = store->audit.who,
        .result = result,
        .detail = change->detail,
    };
    return audit_append(store->audit.log, &entry, NULL, NULL);
}

enum store_err audit_record(struct store *store)
{
    struct audit_changes *changes = &store->audit;
    enum store_err err = STORE_OK;

    if (changes->failed)
        return fault(STORE_ERR_NO_MEMORY, "record", "the changes", NULL);
    if (changes->log == NULL || changes->appended == changes->count)
        return STORE_OK;
    for (; changes->appended < changes->count && !err; changes->appended += !err)
        err = append(store, &changes->items[changes->appended], "ok");
    if (err)
        return err;
    /* Not later: what others append after the sync may be lost with the power. */
    store->to.checkpoint = (struct audit_checkpoint){audit_log_head(changes->log), store->now_ns};
    return audit_sync(changes->log);
}

void audit_record_failure(struct store *store)
{
    struct audit_changes *changes = &store->audit;
    struct store_fault kept = *store_fault();
    enum store_err err = STORE_OK;

    if (changes->held)
        return;
    for (size_t i = 0; i < changes->appended && !err; i++)
        err = append(store, &changes->items[i], "failed");
    changes->appended = 0;
    fault_restore(&kept);
}

void audit_forget(struct store *store)
{
    struct audit_changes *changes = &store->audit;

    if (changes->held)
        return;
    for (size_t i = 0; i < changes->count; i++) {
        free(changes->items[i].path);
        free(changes->items[i].detail);
    }
    changes->count = changes->appended = 0;
    changes->failed = false;
}

void audit_changes_release(struct audit_changes *changes)
{
    free(changes->items);
    *changes = (struct audit_changes){0};
}
