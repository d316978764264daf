/*
 * The record of what was read and changed: a file of JSON lines, each with a keyed hash over itself
 * and what stood before it, so that a line that was changed, removed, moved or added is found.
 * FORMAT.md, "The record".
 *
 * Several processes append to one file at once, and none waits for another: each says in its line
 * up to where it had read, and reads on from there before its next. What a killed writer or a full
 * disk left of a line stays, as an incomplete line.
 *
 * Lines never hold a value. What they say of a process, which can choose its name and path itself,
 * is escaped.
 */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "store.h"

#include <limits.h>

#define AUDIT_VARIABLE "SECRETFS_AUDIT"
#define AUDIT_NONE "none"         /* in place of a file's name: nothing is recorded */
#define AUDIT_OBJECT "the record" /* as which store_fault() names it */
#define AUDIT_HASH_BYTES 16
#define AUDIT_LINE_MAX 16384 /* bytes, its newline included */

/* The end of a chain: how many lines there are, and the state that the next one continues. */
struct audit_head {
    uint64_t number; /* 0: there is none yet */
    unsigned char hash[AUDIT_HASH_BYTES];
};

/* Where a line is: at `begin` in the file, or behind that, the one with this hash. */
struct audit_place {
    uint64_t begin;
    unsigned char chain[AUDIT_HASH_BYTES];
};

/* The words in the lines are those of audit_event_name(). */
enum audit_event {
    /* reads */
    AUDIT_OPEN,
    AUDIT_DENIED,
    AUDIT_REVOKED,
    AUDIT_EXPIRED,
    AUDIT_INTEGRITY,
    AUDIT_GET,
    /* the daemon's life */
    AUDIT_MOUNT,
    AUDIT_UNMOUNT,
    AUDIT_RESTART,
    AUDIT_GAP,
    /* changes */
    AUDIT_INIT,
    AUDIT_PUT,
    AUDIT_ROTATE,
    AUDIT_ROLLBACK,
    AUDIT_LABEL,
    AUDIT_REVOKE,
    AUDIT_EXPIRE,
    AUDIT_MKDIR,
    AUDIT_MOVE,
    AUDIT_REMOVE,
    AUDIT_RESTORE,
    AUDIT_PURGE,
    AUDIT_POLICY,
    AUDIT_DESCRIBE,
    AUDIT_SCHEDULE,
    AUDIT_KEY,
    AUDIT_REKEY,
    AUDIT_ANCHOR,
    AUDIT_EVENTS /* how many there are */
};

/* The event's word, a constant; and the event of a word, false where there is none. */
const char *audit_event_name(enum audit_event event);
bool audit_event_find(const char *name, enum audit_event *ret_event);

/* Who does something. Strings are of any bytes; NULL is null, what could not be told. */
struct audit_actor {
    uint32_t uid; /* UINT32_MAX: null, as for gid */
    uint32_t gid;
    uint32_t pid; /* of the process; 0: null */
    const char *executable;
    const char *unit;
    const char *container;
    bool sudo; /* `uid` is whom sudo ran the program for, not the one it runs as */
};

/* What a line says. Strings likewise; one that is too long is cut, and ends with "...". */
struct audit_entry {
    enum audit_event event;
    int64_t time_ns;  /* 0: now */
    const char *path; /* relative to the store's root */
    uint32_t version; /* 0: null */
    struct audit_actor who;
    const char *result; /* "ok", or the name of an errno such as "EACCES"; NULL: "ok" */
    const char *detail; /* for people; left out where NULL */
    uint64_t count;     /* of equal ones that this line stands for; left out where 0 */
    bool inferred;      /* left out where false */
};

struct audit_log;
struct audit_journal;

/*
 * Append to `fd`, which the log owns from here on, also on failure; it was opened with O_RDWR and
 * O_APPEND, and no other process uses the same open file description at the same time. The keys are
 * those of `store`, which is unlocked and must outlive the log.
 * in:     known  what is known of the chain from before, such as of the file that was rotated away,
 *                or NULL; what the store's root record says counts as well, if it is loaded
 * out:    ret_log  caller owns; audit_log_free()
 * errors: IO, DENIED, NO_MEMORY
 * thread: every function on a log may be called by several threads
 */
STORE_CHECKED enum store_err audit_log_new(struct store *store, int fd,
                                           const struct audit_head *known,
                                           struct audit_log **ret_log);

/* Wait for nobody, sync nothing. NULL is allowed. */
void audit_log_free(struct audit_log *log);

/* Send a copy of each line that is appended from here on (audit_journal.h), NULL: of none. What
 * sends them must outlive the log. Call it before there are other threads. */
void audit_log_copy(struct audit_log *log, struct audit_journal *journal);

/*
 * Append one line. `before`, if not NULL, is called with its place under the log's mutex before
 * anything is written; it must not call into the log.
 * errors: NO_SPACE, IO, NO_STORE (the file was removed: it has no name any more), DENIED; then
 *         there is no such line in the file, but there may be an incomplete one
 */
typedef void audit_before_fn(void *arg, const struct audit_place *place);
STORE_CHECKED enum store_err audit_append(struct audit_log *log, const struct audit_entry *entry,
                                          audit_before_fn *before, void *arg);

/* Whether the line that `place` speaks of is in the file; false also where it can't be read. */
bool audit_has(struct audit_log *log, const struct audit_place *place);

/* Make durable what was appended before the call; many that wait share one fdatasync(2). errors:
 * IO, NO_SPACE */
STORE_CHECKED enum store_err audit_sync(struct audit_log *log);

/* The end of the chain, what others appended up to now included, as far as it can be read. */
struct audit_head audit_log_head(struct audit_log *log);

/* The same without looking at the file: the end as the last append has found it, or made it. */
struct audit_head audit_log_seen(struct audit_log *log);

/*
 * Whether the log has noticed, since this was last asked, that lines are gone which were there: the
 * file is shorter than it was, or ends before `known`. The chain goes on from what is known, so
 * that audit_verify() finds the place.
 */
bool audit_tampered(struct audit_log *log);

/* ---- Files --------------------------------------------------------------- */

/*
 * The name of the record of the store at `path`: `file` itself; NULL: for the store that is the
 * programs' default the one below /var/log, for any other STORE-audit.jsonl beside it. NULL when
 * out of memory; the caller frees it.
 */
char *audit_file_name(const char *path, const char *file);

/* The same as an absolute path, without symlinks but for its last name. False where its folder
 * can't be found. */
bool audit_file_place(const char *path, const char *file, char ret_place[static PATH_MAX]);

/* What to do where the record is missing. A new one is 0600 and the store's owner's. */
enum audit_missing {
    AUDIT_MISSING_FAILS,
    AUDIT_MISSING_JOINS,  /* where it was rotated away just now, and others still write to it there,
                             that is what is opened, until one of them begins the next; else made */
    AUDIT_MISSING_BEGINS, /* it is made: for the daemon, which begins the next */
};

/*
 * Open the record of the store at `path`. Only a regular file with one name is taken, of root, of
 * the store's owner or of the caller, that nobody but its owner may write.
 * out:    ret_fd     for audit_log_new()
 *         ret_known  the end of the newest file that was rotated away, for audit_log_new() too; the
 *                    number is 0 where there is none
 * errors: NO_STORE (there is none, or no such folder), DENIED, NO_SPACE, IO, NO_MEMORY
 */
STORE_CHECKED enum store_err audit_file_open(const char *path, const char *file,
                                             enum audit_missing missing, int *ret_fd,
                                             struct audit_head *ret_known);

/* The files of a record, the oldest first: `file` and what was rotated away from it, FILE.1 or
 * FILE-20261124 … as far as it can be read and is not compressed. */
struct audit_files {
    char **names;
    size_t count;
};

/* errors: IO, NO_MEMORY. out: ret_files  audit_files_release(), also on failure */
STORE_CHECKED enum store_err audit_files_find(const char *file, struct audit_files *ret_files);
void audit_files_release(struct audit_files *files);

/* Whether there is anything in the record, or in a file that was rotated away from it. */
STORE_CHECKED enum store_err audit_files_any(const char *file, bool *ret_any);

/*
 * Give the record and what was rotated away from it other names, FILE.former-TIME and the like,
 * which are a record of their own. Files that are empty stay. On failure all stay.
 * out:    ret_former  the name that `file` has got; the caller frees it
 * errors: IO, DENIED, NO_MEMORY
 */
STORE_CHECKED enum store_err audit_files_set_aside(const char *file, char **ret_former);

/* Undo that. False where not all of it could be; nothing that has one of the names is replaced. */
bool audit_files_put_back(const char *file, const char *former);

/* ---- For programs that change the store ---------------------------------- */

/*
 * Have what `who` changes from here on recorded: store_commit() appends a line for each change of
 * the transaction before it commits, makes them durable, and notes the end of the record in the
 * store. Where it can't, it fails, and nothing is committed. Where the commit fails after that,
 * each change gets a further line whose result is "failed". The log and the strings of `who` must
 * outlive the store.
 */
void audit_use(struct store *store, struct audit_log *log, const struct audit_actor *who);

/* Call new versions, and labels that are moved, by this event from here on: what they are part of.
 */
void audit_use_event(struct store *store, enum audit_event event);

#endif
