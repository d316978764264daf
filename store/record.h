/*
 * Records: what the rows mean once open, and their encoding. FORMAT.md, "Records".
 *
 * A record is a list of fields (tag, length, bytes) in ascending order of their tags, none twice.
 * An unknown field is refused, not ignored: it may carry a rule that a reader has to obey. The
 * decoders take hostile bytes. Limits are checked when writing and when reading. Private.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "anchor.h"
#include "audit.h"
#include "error.h"
#include "keyslot.h"
#include "policy.h"
#include "seal.h"
#include "store.h"

/* Room for any node's record, padding included. */
#define RECORD_NODE_MAX 16384
#define RECORD_ROOT_MAX 2048
#define RECORD_SLOT_MAX 2048
/* A version's record is the value and this much at most. */
#define RECORD_VERSION_OVERHEAD 32

/* The end of the record of what was read and changed, as a commit found it. */
struct audit_checkpoint {
    struct audit_head head;
    int64_t time_ns; /* 0: no commit has recorded yet */
};

/* A key that lines were hashed with until a rekey; `box` is sealed under the present one. */
#define AUDIT_FORMER_MAX 16
#define AUDIT_FORMER_BOX SEAL_AUDIT_BOX_BYTES
struct audit_former {
    struct audit_head head; /* the last line under it */
    unsigned char box[AUDIT_FORMER_BOX];
};

struct root_record {
    uint64_t generation;
    uint64_t next_id;         /* for the next node or version */
    uint64_t rows[TABLE_END]; /* by table; the root's own counts as none */
    struct multiset hash;     /* over all rows of all tables but the root's */
    struct anchor_acceptance accepted;
    uint32_t former_count;
    struct audit_former former[AUDIT_FORMER_MAX]; /* the oldest first */
    struct audit_checkpoint checkpoint;
};

struct node_record {
    uint64_t id;         /* the row's */
    uint64_t generation; /* likewise; only of a node that was read */
    enum store_kind kind;
    uint64_t parent; /* 0 for the root directory */
    char name[STORE_NAME_MAX + 1];
    size_t name_len;
    int64_t created_ns;
    int64_t changed_ns;
    int64_t deleted_ns; /* 0: it is in the tree */
    int64_t purge_ns;   /* deleted: when its recovery window is over; 0: the default one */
    int64_t linked_ns;  /* when its directory entry last changed: made, moved, rotated, restored */
    int64_t mtime_ns;   /* directories: an entry left without a trace; see index.h */
    struct policy policy;
    struct store_details details; /* description, rules; for secrets the versions and rotation */
};

/* How long a deleted node can be restored, in whole seconds, rounded up. */
uint32_t record_recovery_s(const struct node_record *node);

/* Whether `text` is UTF-8 without control characters. */
bool record_text_valid(const char *text, size_t len);

/* Whether `name` may stand in a directory: 1 to 255 bytes of UTF-8, no '/', no control characters,
 * not "." or ".."; in the root directory also no leading '@', which is kept for views. */
bool record_name_valid(const char *name, size_t len, bool in_root);

/* 0 to STORE_DESCRIPTION_MAX bytes of UTF-8 without control characters. */
bool record_description_valid(const char *text);

/* Whether all of it is within its limits, and its step is one of a secret whose next version has
 * the number `next_number`. */
bool record_rotation_valid(const struct store_rotation *rotation, uint32_t next_number);

/* The fields of a root record that are about the record of what was read; as those of a rotation.
 */
struct reader;
unsigned char *record_put_audit(unsigned char *at, const struct root_record *root);
void record_take_audit(struct reader *r, struct root_record *ret_root);

/* The fields of a node's rotation; those of what is not set are left out. Returns the end. */
unsigned char *record_put_rotation(unsigned char *at, const struct store_rotation *rotation);

/* Take them; `ret_details` has its `next_number` already. */
void record_take_rotation(struct reader *r, struct store_details *ret_details);

/* The same for the rules of who alone may open it. */
unsigned char *record_put_rules(unsigned char *at, const struct store_rules *rules);
void record_take_rules(struct reader *r, struct store_rules *ret_rules);

/* Whether the versions are in ascending order of number and id, and have the labels but `pending`,
 * which comes after them. */
bool record_versions_valid(const struct store_details *details);

/* Whether a label is on no version (0), or on one that is listed and not current. */
bool record_label_valid(const struct store_details *details, uint64_t version);

/* Whether the node may be where its record says. */
bool record_place_valid(const struct node_record *node);

/* Encode into `out`, which has room for RECORD_*_MAX bytes. Returns the length. */
size_t record_encode_root(const struct root_record *root, unsigned char *out);
size_t record_encode_node(const struct node_record *node, unsigned char *out);
size_t record_encode_slot(const struct keyslot *slot, unsigned char *out);

/* errors: INTEGRITY, naming row `id`. */
STORE_CHECKED enum store_err record_decode_root(const unsigned char *data, size_t len,
                                                struct root_record *ret_root);
STORE_CHECKED enum store_err record_decode_node(uint64_t id, const unsigned char *data, size_t len,
                                                struct node_record *ret_node);
STORE_CHECKED enum store_err record_decode_slot(uint64_t id, const unsigned char *data, size_t len,
                                                struct keyslot *ret_slot);

/* The bytes of a version's record for a value of `value_len` bytes, without padding. */
size_t record_version_len(size_t value_len);

/* Fill `out` (record_version_len() bytes) with a version's record. */
void record_encode_version(uint64_t node, uint32_t number, const struct secbuf *value,
                           unsigned char *out);

/* Whose record this is, before its value is of interest; false where it is malformed. */
bool record_version_owner(const struct secbuf *buf, uint64_t *ret_node, uint32_t *ret_number);

/*
 * Read a version's record and move the value to the front of `buf`, the rest wiped.
 * errors: INTEGRITY, also where node or number are not the ones expected
 */
STORE_CHECKED enum store_err record_decode_version(uint64_t id, uint64_t node, uint32_t number,
                                                   struct secbuf *buf);

#endif
