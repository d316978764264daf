/*
 * The index: every node and version of the store in memory, names and policies included, values
 * not. It answers lookups and listings, and remembers each row's hash, so that a changed row can be
 * taken out of the sum over all rows. Knows no SQL, no keys. Not thread-safe: store.c holds its
 * lock. Private.
 *
 * Nodes and versions are kept in arrays and named by slot, 32-bit numbers from 1 that are used
 * again; 0 is none. Rows come in any order, so an update has two steps: index_set_node() for each
 * row, then index_link(), which puts the nodes into their directories and checks that they make a
 * tree.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "error.h"
#include "record.h"
#include "seal.h"
#include "store.h"

struct index;

/* What only a directory has. */
struct index_directory {
    int64_t mtime_ns;     /* as recorded, or later as its entries say */
    uint32_t first_child; /* slots: its entries in the order of ids */
    uint32_t last_child;
    uint32_t subdirs;
};

/* What only a secret has; versions by slot, 0 for none. */
struct index_secret {
    uint32_t first_version; /* the newest */
    uint32_t current;
    uint32_t shown; /* the one that its name shows; another than the current only while held */
    uint32_t label_previous;
    uint32_t label_pending;
    uint32_t expiry; /* its place among those that expire; 0: it never does */
};

/* There may be millions, so what excludes each other shares its place; see the functions below. */
struct index_node {
    uint64_t id;
    uint64_t parent_id;
    int64_t changed_ns;
    struct multiset hash;
    union {
        struct {
            uint32_t next; /* in the tree: its neighbours there in the order of ids */
            uint32_t previous;
        };
        int64_t deleted_ns; /* deleted: when */
    };
    union {
        struct index_directory directory;
        struct index_secret secret;
    };
    union {
        uint32_t parent;     /* in the tree: the directory it is linked into */
        uint32_t recovery_s; /* deleted: how long it can be restored from then on */
    };
    uint32_t uid;
    uint32_t gid;
    uint32_t name; /* offset into the arena; ACL entries stand behind the name */
    uint16_t mode;
    uint8_t name_len;
    uint8_t kind; /* enum store_kind; 0: the slot is free */
    uint8_t entry_count;
    uint8_t group_perm;
    bool extended : 1;
    bool deleted : 1;
    bool linked : 1;
    bool hidden : 1; /* held: its name does not show it yet */
    bool ruled : 1;  /* it has rules of its own */
};

struct index_version {
    uint64_t id;
    int64_t created_ns;
    struct multiset hash; /* zero until the row was seen */
    uint32_t node;        /* slots */
    uint32_t next;        /* the next older version of the node */
    uint32_t number;
    uint32_t size_bytes : 24;
    bool has_row : 1;
    bool listed : 1; /* its node's record names it */
    bool revoked : 1;
};
_Static_assert(STORE_VALUE_MAX < 1 << 24, "every size fits");

/* 0 for what has none, being of the other kind. */
static inline uint32_t index_first_child(const struct index_node *node)
{
    return node->kind == STORE_DIRECTORY ? node->directory.first_child : 0;
}

static inline uint32_t index_first_version(const struct index_node *node)
{
    return node->kind == STORE_SECRET ? node->secret.first_version : 0;
}

static inline uint32_t index_current(const struct index_node *node)
{
    return node->kind == STORE_SECRET ? node->secret.current : 0;
}

static inline uint32_t index_shown(const struct index_node *node)
{
    return node->kind == STORE_SECRET ? node->secret.shown : 0;
}

STORE_CHECKED enum store_err index_new(struct index **ret_index);

/* Make room for so many at once. Others may come, and more. errors: NO_MEMORY */
STORE_CHECKED enum store_err index_expect(struct index *index, uint64_t nodes, uint64_t versions);
void index_free(struct index *index);

/* NULL where there is none. Pointers live until the next change. */
const struct index_node *index_find_node(const struct index *index, uint64_t id);
const struct index_version *index_find_version(const struct index *index, uint64_t id);
const struct index_node *index_find_child(const struct index *index,
                                          const struct index_node *directory, const char *name,
                                          size_t name_len);

const struct index_node *index_node_at(const struct index *index, uint32_t slot);
const struct index_version *index_version_at(const struct index *index, uint32_t slot);
/* The version of a secret with `label`, as its name shows it: NULL where none has it. */
const struct index_version *index_label(const struct index *index, const struct index_node *node,
                                        enum store_label label);
/* The root directory, NULL before there is one. */
const struct index_node *index_root(const struct index *index);
/* The slots that have been used so far; free ones have kind 0. */
uint32_t index_node_slots(const struct index *index);
const char *index_name(const struct index *index, const struct index_node *node);
void index_policy(const struct index *index, const struct index_node *node,
                  struct policy *ret_policy);

/*
 * Set what a node's row says: `record`, and the row's `hash`. Versions that the record doesn't list
 * any more are dropped with their rows' hashes. Where its name changes, the node is taken out of
 * its directory until index_link(). errors: NO_MEMORY, INTEGRITY (an id that is something else),
 * LIMIT (2^32 bytes of names)
 */
STORE_CHECKED enum store_err index_set_node(struct index *index, const struct node_record *record,
                                            const struct multiset *hash);

/*
 * Take a node out of its directory; then index_remove_node() forgets it and its versions. Two
 * steps, so that a directory can go together with its entries in any order. Unknown ids are
 * ignored. errors: INTEGRITY (something is still in it)
 */
void index_unlink_node(struct index *index, uint64_t id);
STORE_CHECKED enum store_err index_remove_node(struct index *index, uint64_t id);

/* Note that the row of a node or version is another one that says the same. It must be there. */
void index_change_hash(struct index *index, enum table table, uint64_t id,
                       const struct multiset *hash);

/* Note that the row of version `id` is there. errors: INTEGRITY if no node lists it */
STORE_CHECKED enum store_err index_set_version_row(struct index *index, uint64_t id,
                                                   const struct multiset *hash);

/*
 * Link all nodes set since the last call into their directories.
 * errors: INTEGRITY: a parent that is missing or no directory, a name that is there twice, a cycle,
 *         too deep, or a listed version without a row
 */
STORE_CHECKED enum store_err index_link(struct index *index);

/*
 * From now on a change leaves names as they are: what a name shows stays shown, and a node that is
 * new, moved or restored is hidden, until index_show(). Versions and directories from id `first` on
 * are held at once, as before they came.
 */
void index_hold_names(struct index *index, uint64_t first);
void index_show(struct index *index, const struct index_node *node);

/* When a secret expires; 0: never. */
int64_t index_expires(const struct index *index, const struct index_node *node);

/*
 * Of the nodes that expire, removed ones included, and whose expiry was not noted yet: the first to
 * do so, and when. NULL and INT64_MAX if there is none. Constant time; the others take the
 * logarithm of their number, or all of it where all are to come again.
 */
const struct index_node *index_next_to_expire(const struct index *index, int64_t *ret_expires_ns);
void index_note_expired(struct index *index); /* that first one's */
void index_expire_again(struct index *index);

/* Whether any node has rules; whether the caller fulfils those of `node` itself. */
bool index_has_rules(const struct index *index);
bool index_allows(const struct index *index, const struct index_node *node,
                  const struct store_caller *caller);

/* The sum of the hashes of all rows it holds, and their number by table. */
struct multiset index_hash(const struct index *index);
uint64_t index_rows(const struct index *index, enum table table);

struct index_stats {
    uint64_t secrets;
    uint64_t directories;
    uint64_t deleted;
    uint64_t value_bytes;
};

const struct index_stats *index_stats(const struct index *index);

/* How deep the directory `node` is; the root is 0. */
unsigned index_depth(const struct index *index, const struct index_node *node);

#endif
