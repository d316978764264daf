/*
 * What a transaction has changed, until its commit records it. Private.
 */
#ifndef STORE_AUDIT_CHANGE_H
#define STORE_AUDIT_CHANGE_H

#include "audit.h"

struct policy;

#define AUDIT_CHANGE_DETAIL 1280 /* bytes, the end of a longer one is cut */

struct audit_change {
    enum audit_event event;
    char *path; /* NULL: it is about none */
    uint32_t version;
    char *detail; /* or NULL */
};

/* In a store's handle. All zero: nothing is recorded. */
struct audit_changes {
    struct audit_log *log;
    struct audit_actor who;
    bool named; /* whether `name` stands for some events */
    enum audit_event name;
    struct audit_change *items;
    size_t count;
    size_t capacity;
    size_t appended; /* of them, to the record */
    bool failed;     /* there was no memory for one, so that they can't be committed */
    bool held;       /* they stay, and nothing is said of a failure, until this is over */
};

/*
 * Note that the transaction has changed something. Does nothing where nothing is recorded; where
 * there is no memory for it, the transaction can't be committed.
 * in: path     as the caller of the store gave it, or NULL
 *     version  0: about none
 *     format   of the detail, or NULL
 */
__attribute__((format(printf, 5, 6))) void audit_note(struct store *store, enum audit_event event,
                                                      const char *path, uint32_t version,
                                                      const char *format, ...);

/* The same for what changed from one policy to another. */
void audit_note_policy(struct store *store, const char *path, const struct policy *from,
                       const struct policy *to);

/* Append what was noted, and have the root record that is to be written tell of the end. errors: as
 * audit_append() */
STORE_CHECKED enum store_err audit_record(struct store *store);

/* What was appended is not committed: append that too, as far as possible. Keeps store_fault(). */
void audit_record_failure(struct store *store);

/* Forget what was noted. */
void audit_forget(struct store *store);

/* Release everything, but not the log. */
void audit_changes_release(struct audit_changes *changes);

#endif
