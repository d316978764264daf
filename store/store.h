/*
 * libsecretstore: an encrypted, authenticated store of secrets in one SQLite file. See FORMAT.md.
 *
 * Opening takes three steps: store_open() looks at the file, store_unlock() unwraps the root key
 * through a key slot, and store_load() verifies every row and builds the index that answers
 * everything but values. After that store_refresh() follows what other processes commit
 * (changes.h).
 *
 * Changes are made between store_begin() and store_commit(); several make one commit. Paths are
 * relative to the store's root; leading, doubled and trailing slashes are ignored; "" and "/" name
 * the root.
 *
 * Ids: directories, secrets and versions are numbered from one counter, so an id is any of the
 * three and never comes back. Ids below STORE_ROOT_ID are never given out. Times are nanoseconds
 * since 1970.
 *
 * Threads: after store_load() every function of the section "Asking" may be called
 * by several threads at once. The section "Changing" belongs to one thread, with no other using the
 * store.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "error.h"
#include "policy.h"
#include "rotation.h"
#include "rules.h"
#include "secmem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FORMAT 1
#define STORE_UUID_BYTES 16
#define STORE_KEY_BYTES 32
#define STORE_ROOT_ID 16
#define STORE_ID_BITS 60 /* ids are less than 2 to the power of this */
#define STORE_NAME_MAX 255
#define STORE_PATH_MAX 8192 /* more than STORE_DEPTH_MAX names and their slashes */
#define STORE_DEPTH_MAX 32
#define STORE_VALUE_MAX (1024 * 1024)
#define STORE_DESCRIPTION_MAX 1024
#define STORE_PASSPHRASE_MAX 1024
#define STORE_RECOVERY_S (30U * 24 * 60 * 60)       /* what is deleted can be restored so long */
#define STORE_RECOVERY_MAX_S (3650U * 24 * 60 * 60) /* or up to ten years, where that is said */
#define STORE_VERSIONS_KEPT 100 /* a secret's oldest without a label go beyond this many */

struct store;

/* ---- Creating and opening ------------------------------------------------ */

/* The kinds of key slots. */
enum store_slot_kind {
    STORE_SLOT_KEYFILE = 1,
    STORE_SLOT_PASSPHRASE = 2,
    STORE_SLOT_RECIPIENT = 3, /* an X25519 key pair, see recipient.h */
    STORE_SLOT_COMMAND = 4,   /* the output of a program */
};

/* What a key slot is opened with. */
struct store_credential {
    enum store_slot_kind kind;
    const struct secbuf *secret; /* passphrase: 1 to STORE_PASSPHRASE_MAX bytes; else
                                    STORE_KEY_BYTES: the key, or the recipient's identity */
};

/*
 * Make a new store at `path`, mode 0600, with an empty root directory (root:root 0755) and one key
 * slot, for a key file or passphrase; slots.h has the same for other kinds. A passphrase is
 * stretched with Argon2id, 256 MiB and 3 passes; takes about a second. errors: EXISTS (nothing is
 * touched), NO_STORE (no such folder), DENIED, NO_SPACE, IO, INVALID, NO_MEMORY, MEMORY_LOCK. On
 * failure no file is left behind.
 */
STORE_CHECKED enum store_err store_create(const char *path,
                                          const struct store_credential *credential);

/*
 * A store that another process has locked is waited for: 5 s for a writer to end, 10 s where the
 * store can't even be read; then comes BUSY.
 *
 * STORE_FOLLOW is STORE_READ_ONLY for a process with readers of its own: its store_read(),
 * store_refresh() and store_changed_since() wait STORE_FOLLOW_WAIT_MS, counted from when the first
 * of them found the store locked. Whoever comes later shares what is left; after that each tries
 * once, until one gets through. So in whatever order they queue, none waits longer.
 */
enum store_access { STORE_READ_ONLY, STORE_READ_WRITE, STORE_FOLLOW };

#define STORE_FOLLOW_WAIT_MS 500

/*
 * Open the file and check that it is a store of a known format with exactly the schema of that
 * format. out:    ret_store  caller owns; store_close() errors: NO_STORE, FORMAT, DENIED, BUSY,
 * INTEGRITY, IO, NO_MEMORY
 */
STORE_CHECKED enum store_err store_open(const char *path, enum store_access access,
                                        struct store **ret_store);

/* The absolute path of the store's file; lives as long as the store. */
const char *store_path(const struct store *store);

/* The number that tells it from every other store; STORE_UUID_BYTES, lives as long as the store.
 * What no key has verified yet is only what the file says. */
const unsigned char *store_uuid(const struct store *store);

/* Whether the store has a key slot of this kind, so that a program can ask for the right thing. */
bool store_has_slot(const struct store *store, enum store_slot_kind kind);

/*
 * Unwrap the root key with the first slot that takes `credential`; its subkeys stay in locked
 * memory. errors: KEY (no slot takes it), INTEGRITY (a slot out of bounds), MEMORY_LOCK, NO_MEMORY
 */
STORE_CHECKED enum store_err store_unlock(struct store *store,
                                          const struct store_credential *credential);

/*
 * The root key itself, for a process that unlocks once and starts others: store_root_key() unwraps
 * it as store_unlock() does, store_unlock_root() takes it. A wrong one is found by store_load().
 * out:    ret_root_key  STORE_KEY_BYTES; caller owns
 *         ret_slot      the id of the slot; NULL if nobody asks
 */
STORE_CHECKED enum store_err store_root_key(struct store *store,
                                            const struct store_credential *credential,
                                            struct secbuf *ret_root_key, uint64_t *ret_slot);
STORE_CHECKED enum store_err store_unlock_root(struct store *store, const struct secbuf *root_key);

/* Work whose time grows with the store. */
enum store_work {
    STORE_WORK_LOAD,  /* store_load(), also where another call needs it */
    STORE_WORK_CHECK, /* store_check() */
    STORE_WORK_COPY,  /* store_backup(), whose copy is loaded and checked then; in pages */
    STORE_WORK_REKEY, /* store_rekey() */
};

/*
 * Have `progress` called with how much of such work is done, from 0 on, now and then and in the
 * thread that called for the work; with done == total when it is over, however it ended. It must
 * not call into the store. NULL: nobody is told.
 */
typedef void store_progress_fn(void *arg, enum store_work work, uint64_t done, uint64_t total);
void store_set_progress(struct store *store, store_progress_fn *progress, void *arg);

/*
 * Verify every row against the root record and build the index. About 4 µs of processor time a
 * secret, shared by up to 4 threads, which end before this returns.
 * errors: INTEGRITY (store_fault() names the row), BUSY, IO, NO_MEMORY; the store then holds no
 * index.
 */
STORE_CHECKED enum store_err store_load(struct store *store);

/* Wipe the keys and release everything; an open transaction is rolled back. NULL is allowed. */
void store_close(struct store *store);

/* ---- Asking -------------------------------------------------------------- */

enum store_kind { STORE_DIRECTORY = 1, STORE_SECRET = 2 };

/* Movable names for versions of a secret. Current is on one version always, the others on at most
 * one, and never on the current one. */
enum store_label { STORE_LABEL_CURRENT, STORE_LABEL_PREVIOUS, STORE_LABEL_PENDING };

/*
 * What stat(2) would say of an id. For a secret's own id, or its current version's, `version` is
 * the current one; for a superseded version's id it is that one.
 */
struct store_attr {
    uint64_t node;   /* the directory or secret */
    uint64_t parent; /* the directory it is in; the root's own id for the root */
    enum store_kind kind;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;       /* permission bits, the mask as group bits where there is an ACL */
    bool has_acl;        /* store_policy() tells it */
    bool deleted;        /* taken out of the tree; `parent` is where it was */
    uint64_t version;    /* secrets: the version this speaks of, else 0 */
    uint64_t current;    /* secrets: the version the path shows, else 0 */
    uint32_t number;     /* secrets: the version's number, from 1 */
    uint32_t size_bytes; /* secrets: of that version's value */
    bool revoked;        /* secrets: that version is */
    uint32_t subdirs;    /* directories: directories in it */
    int64_t expires_ns;  /* secrets: when the time of all versions is over; 0: never */
    int64_t purge_ns;    /* deleted: when the recovery window is over, and it may be purged */
    int64_t mtime_ns; /* secrets: when the version was made; directories: last change of entries */
    int64_t ctime_ns; /* last change of policy, name or current version, or mtime if later */

    uint32_t previous_number; /* secrets: of the versions with these labels, 0 for none */
    uint32_t pending_number;
};

/*
 * Whether the version that `attr` speaks of may be given out at this time of CLOCK_REALTIME:
 * REVOKED or EXPIRED if not, as store_read() would say. Revocation counts first.
 */
STORE_CHECKED enum store_err store_refusal(const struct store_attr *attr);

/* errors: NOT_FOUND; NAME where `name` could not exist. Constant time in the size of the store. */
STORE_CHECKED enum store_err store_lookup(struct store *store, uint64_t directory, const char *name,
                                          struct store_attr *ret_attr);

/* Deleted nodes are found too, by their id only. errors: NOT_FOUND */
STORE_CHECKED enum store_err store_stat(struct store *store, uint64_t id,
                                        struct store_attr *ret_attr);

/* Follow a path from the root. errors: NOT_FOUND, NOT_DIRECTORY, NAME. */
STORE_CHECKED enum store_err store_resolve(struct store *store, const char *path,
                                           struct store_attr *ret_attr);

/* The whole policy of what `id` names. errors: NOT_FOUND */
STORE_CHECKED enum store_err store_policy(struct store *store, uint64_t id,
                                          struct policy *ret_policy);

/*
 * Call `visit` for the entries of a directory in the order of their ids, beginning after the id
 * `after` (0: from the start), until it returns false or the end. `name` lives for the call only.
 * `visit` runs under the store's lock: it must not call into the store.
 * errors: NOT_FOUND, NOT_DIRECTORY
 */
typedef bool store_visit_fn(void *arg, const char *name, const struct store_attr *attr);
STORE_CHECKED enum store_err store_list(struct store *store, uint64_t directory, uint64_t after,
                                        store_visit_fn *visit, void *arg);

/*
 * The same in the view of `label`: of secrets only those with the label, and `attr` tells of the
 * version with it. Names may be held there too, labels but `current` are not.
 */
STORE_CHECKED enum store_err store_lookup_label(struct store *store, uint64_t directory,
                                                const char *name, enum store_label label,
                                                struct store_attr *ret_attr);
STORE_CHECKED enum store_err store_list_label(struct store *store, uint64_t directory,
                                              enum store_label label, uint64_t after,
                                              store_visit_fn *visit, void *arg);

/*
 * The same for deleted nodes that are not purged yet, the whole store's, in no particular order;
 * `path` is where each was, and `deleted_ns` when it was removed.
 */
typedef bool store_visit_deleted_fn(void *arg, const char *path, const struct store_attr *attr,
                                    int64_t deleted_ns);
STORE_CHECKED enum store_err store_list_deleted(struct store *store, store_visit_deleted_fn *visit,
                                                void *arg);

/* A kept version of a secret. */
struct store_version {
    uint64_t id;
    uint32_t number;
    uint32_t size_bytes;
    int64_t created_ns;
    int64_t revoked_ns; /* 0: it is not revoked */
};

/* The parts of a node that only people ask for. */
struct store_details {
    int64_t created_ns;
    char description[STORE_DESCRIPTION_MAX + 1];
    uint64_t current;               /* version ids, 0 for none */
    uint64_t previous;              /* the one that was current before, or was labeled so */
    uint64_t pending;               /* the one that is to become current */
    int64_t expires_ns;             /* 0: never */
    uint32_t next_number;           /* the number the next version will get */
    struct store_rotation rotation; /* secrets: all zero where none is set */
    uint32_t version_count;
    struct store_version versions[STORE_VERSIONS_KEPT]; /* oldest first */
    struct store_rules rules;                           /* its own, not those above it */
};

/* The kept version with this id, or number; NULL if there is none. */
const struct store_version *store_version_of(const struct store_details *details, uint64_t id);
const struct store_version *store_version_numbered(const struct store_details *details,
                                                   uint32_t number);

/*
 * The ids of a secret's kept versions, newest first, as many as fit in `room`; none for a
 * directory. Unlike store_details() it reads no record. errors: NOT_FOUND
 */
STORE_CHECKED enum store_err store_version_ids(struct store *store, uint64_t node,
                                               uint64_t *ret_ids, size_t room, size_t *ret_count);

/*
 * Read and open the node's record, in the present state of the file: it refreshes first, so whoever
 * needs to hear of all changes from store_refresh() can't use it. errors: NOT_FOUND, INTEGRITY,
 * BUSY, IO
 */
STORE_CHECKED enum store_err store_details(struct store *store, uint64_t node,
                                           struct store_details *ret_details);

/*
 * Call `visit` for every secret in the tree that has a rotation set, in the order of their ids and
 * in the present state of the file, which is refreshed as by store_details(), until it returns
 * false. Opens the record of every node, about 2 µs each. `details` live for the call only, and
 * `visit` must not call into the store.
 * errors: INTEGRITY, BUSY, IO
 */
typedef bool store_visit_rotation_fn(void *arg, uint64_t node, const struct store_details *details);
STORE_CHECKED enum store_err store_each_rotation(struct store *store,
                                                 store_visit_rotation_fn *visit, void *arg);

/*
 * Decrypt the value of the version `version` into `ret_value`, whose memory is reused when it is
 * large enough: give the same buffer again and no memory is allocated. in/out: ret_value  caller
 * owns; secbuf_release(); empty on failure errors: NO_VERSION, REVOKED, EXPIRED, INTEGRITY, BUSY,
 * IO, NO_MEMORY, MEMORY_LOCK
 */
STORE_CHECKED enum store_err store_read(struct store *store, uint64_t version,
                                        struct secbuf *ret_value);

/*
 * Decrypt every version there is, of deleted secrets and revoked ones too: what a load leaves for
 * later. One thread, and no other changing or following meanwhile. errors: as store_read()
 */
STORE_CHECKED enum store_err store_check(struct store *store);

/* What does not verify. */
struct store_finding {
    char record[96];           /* which: "version 23", "root 1"; by table and id */
    const char *wrong;         /* what is wrong with it; a constant */
    char path[STORE_PATH_MAX]; /* of the secret or directory that it belongs to; empty: not known */
};

/*
 * Say where an unlocked store, which a load or store_check() has refused for INTEGRITY, is damaged:
 * look at every row, go on where a load stops, and tell of the first that is wrong by what the
 * others say. Needs no index and leaves none. errors: INTEGRITY, with *ret_finding filled;
 * NO_VERSION if all verifies by now; BUSY, IO, NO_MEMORY
 */
STORE_CHECKED enum store_err store_diagnose(struct store *store, struct store_finding *ret_finding);

/*
 * `path` without leading, doubled and trailing slashes, "/" for the root; the caller frees it. NULL
 * when out of memory.
 */
char *store_plain_path(const char *path);

/*
 * The path of a node below the directory `top`; the node's own name may be held.
 * out:    ret_path  without slashes at its ends; empty for `top` itself
 * errors: INVALID (it is not below `top`), NOT_FOUND (the name of a directory on the way is held)
 */
STORE_CHECKED enum store_err store_path_below(struct store *store, uint64_t top, uint64_t node,
                                              char ret_path[STORE_PATH_MAX]);

/*
 * Copy the store, encrypted as it is, into the empty file at `path`: one state of it, whatever is
 * committed meanwhile, in a single file that is complete and on its disk when this returns. Takes
 * no key; a store that was unlocked has its copy verified, by loading it and decrypting every
 * version there. One thread, and no transaction open.
 * errors: INTEGRITY, BUSY, DENIED, NO_STORE (no such folder), NO_SPACE, IO, NO_MEMORY; the file is
 * worth nothing then
 */
STORE_CHECKED enum store_err store_backup(struct store *store, const char *path);

/* Whether any node has rules of who alone may open it (rules.h), removed ones included. */
bool store_has_rules(struct store *store);

/* Whether what `id` names has some, or a directory on the way to it. */
bool store_is_ruled(struct store *store, uint64_t id);

/* Whether the caller fulfils all of them. False where `id` names nothing. */
bool store_allows(struct store *store, uint64_t id, const struct store_caller *caller);

/* The generation that was verified last. */
uint64_t store_generation(struct store *store);

struct store_stats {
    unsigned char uuid[STORE_UUID_BYTES];
    uint64_t generation; /* commits since the store was made */
    uint64_t secrets;
    uint64_t directories; /* the root counts */
    uint64_t deleted;     /* nodes that are not purged yet */
    uint64_t versions;
    uint64_t value_bytes; /* of all versions that are not deleted */
    uint32_t slots;
};

void store_stats(struct store *store, struct store_stats *ret_stats);

/* ---- Changing ------------------------------------------------------------ */

/*
 * Take the store's write lock (waiting up to 5 s for another writer) and refresh, so that decisions
 * made before store_commit() are made on the present state. errors: BUSY, INTEGRITY, IO, DENIED
 */
STORE_CHECKED enum store_err store_begin(struct store *store);

/*
 * Make everything since store_begin() durable as one generation, or nothing of it. Nothing changed:
 * nothing is committed. errors: BUSY, NO_SPACE, IO; the transaction is over either way.
 */
STORE_CHECKED enum store_err store_commit(struct store *store);

/* Drop everything since store_begin(). Does nothing outside a transaction. */
void store_rollback(struct store *store);

/* errors: EXISTS, NOT_FOUND (parent), NOT_DIRECTORY, NAME, LIMIT, IO … as all below. */
STORE_CHECKED enum store_err store_mkdir(struct store *store, const char *path);

/*
 * A new version of the secret at `path`, which is made (root:root 0400) where there is none. The
 * same value as the current one makes no new version unless that is revoked, or `force`. The
 * current version becomes `previous`; the time of expiry stays. out:    ret_number  the number of
 * the version that is now current errors: LIMIT (value beyond STORE_VALUE_MAX), IS_DIRECTORY,
 * NOT_FOUND (parent), NAME …
 */
STORE_CHECKED enum store_err store_put(struct store *store, const char *path,
                                       const struct secbuf *value, bool force,
                                       uint32_t *ret_number);

/*
 * A new version that becomes `pending`, while the current one stays; what was pending is kept
 * without the label. The same value as the pending one makes no new version unless that is revoked.
 * out: ret_number  of the version that is now pending errors: NOT_FOUND (there is no secret, whose
 * first version would be current), LIMIT (value beyond STORE_VALUE_MAX), IS_DIRECTORY …
 */
STORE_CHECKED enum store_err store_put_pending(struct store *store, const char *path,
                                               const struct secbuf *value, uint32_t *ret_number);

/*
 * Put `label` on version `number`, off the one that had it; 0 takes it away. `current` is as
 * store_set_current() has it, and what becomes current is pending no more. errors: NO_VERSION,
 * REVOKED, INVALID (`current` taken away, another label for what is current), IS_DIRECTORY …
 */
STORE_CHECKED enum store_err store_set_label(struct store *store, const char *path,
                                             enum store_label label, uint32_t number);

/*
 * Make version `number` current again; 0 means the previous one. errors: NO_VERSION, REVOKED,
 * IS_DIRECTORY …
 */
STORE_CHECKED enum store_err store_set_current(struct store *store, const char *path,
                                               uint32_t number);

/*
 * Never give version `number` out again; 0 means all that there are now. What is current stays so,
 * revoked or not; a later version is not concerned. There is no way back. errors: NO_VERSION,
 * IS_DIRECTORY …
 */
STORE_CHECKED enum store_err store_revoke(struct store *store, const char *path, uint32_t number);

/*
 * Give no version of the secret out from `expires_ns` on, whichever is current by then; 0 means
 * never. errors: INVALID (before 1970), IS_DIRECTORY …
 */
STORE_CHECKED enum store_err store_set_expiry(struct store *store, const char *path,
                                              int64_t expires_ns);

STORE_CHECKED enum store_err store_set_policy(struct store *store, const char *path,
                                              const struct policy *policy);

/* UTF-8 without control characters, up to STORE_DESCRIPTION_MAX bytes; "" for none. */
STORE_CHECKED enum store_err store_set_description(struct store *store, const char *path,
                                                   const char *description);

/*
 * Set how a secret is rotated; all zero for not at all. errors: IS_DIRECTORY, LIMIT (too rarely, a
 * step too long, a generator beyond STORE_GENERATOR_MAX, a rotator beyond STORE_ROTATOR_MAX),
 * INVALID (not UTF-8 without control characters, a rotator that is no name, a step of none) …
 */
STORE_CHECKED enum store_err store_set_rotation(struct store *store, const char *path,
                                                const struct store_rotation *rotation);

/* Set who alone may open a secret, or what is below a directory; all zero: whoever its policy lets.
 * errors: INVALID … */
STORE_CHECKED enum store_err store_set_rules(struct store *store, const char *path,
                                             const struct store_rules *rules);

/* Rename. `to` must not exist. errors: EXISTS, INVALID (into itself, or the root), LIMIT (depth) …
 */
STORE_CHECKED enum store_err store_move(struct store *store, const char *from, const char *to);

/*
 * Take a node out of the tree; for `recovery_s` from now, its recovery window, it can be restored.
 * A directory's lasts as long as that of anything removed from inside it; but where it is 0, that
 * goes with it. in: recovery_s  usually STORE_RECOVERY_S
 * errors: NOT_EMPTY, INVALID (the root), LIMIT (beyond STORE_RECOVERY_MAX_S) …
 */
STORE_CHECKED enum store_err store_remove(struct store *store, const char *path,
                                          uint32_t recovery_s);

/*
 * Bring back what was last removed from `path` and is inside its recovery window.
 * errors: NOT_FOUND, EXPIRED (all windows are over), EXISTS, NOT_DIRECTORY …
 */
STORE_CHECKED enum store_err store_restore(struct store *store, const char *path);

/*
 * Destroy everything that was removed from `path`: names, policies and all versions. A removed
 * directory goes with all that was removed from inside it. errors: NOT_FOUND, EXISTS (only a live
 * one is there)
 */
STORE_CHECKED enum store_err store_purge(struct store *store, const char *path);

/*
 * Destroy nodes whose recovery window is over, `max` at most, but none that this transaction has
 * removed. out:    ret_count  how many; less than `max`: no more are left
 */
STORE_CHECKED enum store_err store_purge_due(struct store *store, size_t max, size_t *ret_count);

/*
 * After a purge was committed: fold the write-ahead log into the file and empty it, so that nothing
 * of what was purged is left on disk. in: wait_ms  how long for other readers and writers; 0: try
 * once; negative: 5 s. errors: BUSY while others still read from the log; try again later.
 */
STORE_CHECKED enum store_err store_compact(struct store *store, int wait_ms);

/* Whether that is still to be done for an earlier purge, which was kept from it or was killed. */
bool store_compact_due(const struct store *store);

#endif
