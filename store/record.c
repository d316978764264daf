/*
 * Encoding and decoding of records, field by field. Knows nothing of keys, SQL or the index.
 */
#include "record.h"
#include "bytes.h"
#include "fault.h"
#include "fields.h"

#include <sodium.h>
#include <string.h>

#define ACCEPTED_BYTES 32
#define ACL_ENTRY_BYTES 6
#define VERSION_ENTRY_BYTES 24
#define REVOKED_ENTRY_BYTES 12
#define SECOND_NS 1000000000

enum root_field {
    ROOT_GENERATION = 1,
    ROOT_NEXT_ID,
    ROOT_ROWS,
    ROOT_HASH,
    ROOT_ACCEPTED,
};

enum node_field {
    NODE_KIND = 1,
    NODE_PARENT,
    NODE_NAME,
    NODE_CREATED,
    NODE_CHANGED,
    NODE_LINKED,
    NODE_UID,
    NODE_GID,
    NODE_MODE,
    NODE_ACL,
    NODE_DESCRIPTION,
    NODE_DELETED,
    NODE_MTIME,
    NODE_NEXT_NUMBER,
    NODE_CURRENT,
    NODE_PREVIOUS,
    NODE_VERSIONS,
    NODE_REVOKED,
    NODE_EXPIRES,
    NODE_PENDING,
    NODE_PURGE,
};

enum slot_field {
    SLOT_KIND = 1,
    SLOT_SALT,
    SLOT_PASSES,
    SLOT_MEMORY,
    SLOT_NONCE,
    SLOT_COMMITMENT,
    SLOT_WRAPPED,
    SLOT_EPHEMERAL,
    SLOT_RECIPIENT,
    SLOT_COMMAND,
};

enum version_field { VERSION_NODE = 1, VERSION_NUMBER, VERSION_VALUE };

/* ---- Root record --------------------------------------------------------- */

static const enum table counted[] = {TABLE_SLOT, TABLE_NODE, TABLE_VERSION};
#define COUNTED (sizeof counted / sizeof counted[0])

static unsigned char *put_accepted(unsigned char *at, const struct anchor_acceptance *a)
{
    unsigned char bytes[ACCEPTED_BYTES];

    if (a->generation == 0)
        return at;
    put_le(bytes, a->generation, 8);
    put_le(bytes + 8, a->accepted, 8);
    put_le(bytes + 16, a->seen, 8);
    put_le(bytes + 24, (uint64_t)a->time_ns, 8);
    return put_bytes(at, ROOT_ACCEPTED, bytes, sizeof bytes);
}

static void take_accepted(struct reader *r, uint64_t generation, struct anchor_acceptance *ret)
{
    unsigned char bytes[ACCEPTED_BYTES];
    size_t len;

    if (!take_optional(r, ROOT_ACCEPTED, bytes, sizeof bytes, &len))
        return;
    if (len != sizeof bytes) {
        r->bad = true;
        return;
    }
    ret->generation = get_le(bytes, 8);
    ret->accepted = get_le(bytes + 8, 8);
    ret->seen = get_le(bytes + 16, 8);
    ret->time_ns = (int64_t)get_le(bytes + 24, 8);
    r->bad |= ret->generation == 0 || ret->generation > generation ||
              ret->accepted >= ret->generation || ret->seen >= ret->generation;
}

size_t record_encode_root(const struct root_record *root, unsigned char *out)
{
    unsigned char rows[8 * COUNTED];
    unsigned char hash[16];
    unsigned char *at = out;

    for (size_t i = 0; i < COUNTED; i++)
        put_le(rows + 8 * i, root->rows[counted[i]], 8);
    put_le(hash, root->hash.lane[0], 8);
    put_le(hash + 8, root->hash.lane[1], 8);
    at = put_number(at, ROOT_GENERATION, root->generation, 8);
    at = put_number(at, ROOT_NEXT_ID, root->next_id, 8);
    at = put_bytes(at, ROOT_ROWS, rows, sizeof rows);
    at = put_bytes(at, ROOT_HASH, hash, sizeof hash);
    at = put_accepted(at, &root->accepted);
    at = record_put_audit(at, root);
    return (size_t)(at - out);
}

enum store_err record_decode_root(const unsigned char *data, size_t len,
                                  struct root_record *ret_root)
{
    struct reader r = {data, data + len, false};
    unsigned char rows[8 * COUNTED];
    unsigned char hash[16];
    struct root_record root = {0};

    root.generation = take_number(&r, ROOT_GENERATION, 8);
    root.next_id = take_number(&r, ROOT_NEXT_ID, 8);
    take_exactly(&r, ROOT_ROWS, rows, sizeof rows);
    take_exactly(&r, ROOT_HASH, hash, sizeof hash);
    take_accepted(&r, root.generation, &root.accepted);
    record_take_audit(&r, &root);
    if (!finished(&r) || root.next_id <= STORE_ROOT_ID || root.next_id > INT64_MAX)
        return fault_row(STORE_ERR_INTEGRITY, "read", "root", 1, "its record is malformed");
    for (size_t i = 0; i < COUNTED; i++)
        root.rows[counted[i]] = get_le(rows + 8 * i, 8);
    root.hash = (struct multiset){{get_le(hash, 8), get_le(hash + 8, 8)}};
    *ret_root = root;
    return STORE_OK;
}

/* ---- Nodes --------------------------------------------------------------- */

static unsigned char *put_acl(unsigned char *at, const struct policy *p)
{
    unsigned char acl[1 + POLICY_ACL_MAX * ACL_ENTRY_BYTES];
    unsigned char *end = acl;

    if (!p->extended)
        return at;
    *end++ = p->group_perm;
    for (unsigned i = 0; i < p->entry_count; i++, end += ACL_ENTRY_BYTES) {
        end[0] = p->entries[i].tag;
        end[1] = p->entries[i].perm;
        put_le(end + 2, p->entries[i].id, 4);
    }
    return put_bytes(at, NODE_ACL, acl, (size_t)(end - acl));
}

static unsigned char *put_versions(unsigned char *at, const struct store_details *d)
{
    unsigned char list[STORE_VERSIONS_KEPT * VERSION_ENTRY_BYTES];
    unsigned char *end = list;

    for (uint32_t i = 0; i < d->version_count; i++, end += VERSION_ENTRY_BYTES) {
        put_le(end, d->versions[i].id, 8);
        put_le(end + 8, d->versions[i].number, 4);
        put_le(end + 12, d->versions[i].size_bytes, 4);
        put_le(end + 16, (uint64_t)d->versions[i].created_ns, 8);
    }
    return put_bytes(at, NODE_VERSIONS, list, (size_t)(end - list));
}

static unsigned char *put_revoked(unsigned char *at, const struct store_details *d)
{
    unsigned char list[STORE_VERSIONS_KEPT * REVOKED_ENTRY_BYTES];
    unsigned char *end = list;

    for (uint32_t i = 0; i < d->version_count; i++) {
        if (d->versions[i].revoked_ns == 0)
            continue;
        put_le(end, d->versions[i].number, 4);
        put_le(end + 4, (uint64_t)d->versions[i].revoked_ns, 8);
        end += REVOKED_ENTRY_BYTES;
    }
    return end == list ? at : put_bytes(at, NODE_REVOKED, list, (size_t)(end - list));
}

static unsigned char *put_purge(unsigned char *at, const struct node_record *node)
{
    return node->purge_ns ? put_number(at, NODE_PURGE, (uint64_t)node->purge_ns, 8) : at;
}

size_t record_encode_node(const struct node_record *node, unsigned char *out)
{
    const struct store_details *d = &node->details;
    unsigned char *at = out;

    at = put_number(at, NODE_KIND, node->kind, 1);
    at = put_number(at, NODE_PARENT, node->parent, 8);
    at = put_bytes(at, NODE_NAME, node->name, node->name_len);
    at = put_number(at, NODE_CREATED, (uint64_t)node->created_ns, 8);
    at = put_number(at, NODE_CHANGED, (uint64_t)node->changed_ns, 8);
    at = put_number(at, NODE_LINKED, (uint64_t)node->linked_ns, 8);
    at = put_number(at, NODE_UID, node->policy.uid, 4);
    at = put_number(at, NODE_GID, node->policy.gid, 4);
    at = put_number(at, NODE_MODE, node->policy.mode, 2);
    at = put_acl(at, &node->policy);
    if (d->description[0])
        at = put_bytes(at, NODE_DESCRIPTION, d->description, strlen(d->description));
    if (node->deleted_ns)
        at = put_number(at, NODE_DELETED, (uint64_t)node->deleted_ns, 8);
    if (node->kind == STORE_DIRECTORY) {
        at = put_number(at, NODE_MTIME, (uint64_t)node->mtime_ns, 8);
        return (size_t)(record_put_rules(put_purge(at, node), &d->rules) - out);
    }
    at = put_number(at, NODE_NEXT_NUMBER, d->next_number, 4);
    at = put_number(at, NODE_CURRENT, d->current, 8);
    if (d->previous)
        at = put_number(at, NODE_PREVIOUS, d->previous, 8);
    at = put_versions(at, d);
    at = put_revoked(at, d);
    if (d->expires_ns)
        at = put_number(at, NODE_EXPIRES, (uint64_t)d->expires_ns, 8);
    if (d->pending)
        at = put_number(at, NODE_PENDING, d->pending, 8);
    at = put_purge(at, node);
    at = record_put_rotation(at, &d->rotation);
    return (size_t)(record_put_rules(at, &d->rules) - out);
}

static void take_acl(struct reader *r, struct policy *p)
{
    unsigned char acl[1 + POLICY_ACL_MAX * ACL_ENTRY_BYTES];
    size_t len;

    if (!take_optional(r, NODE_ACL, acl, sizeof acl, &len))
        return;
    if (len % ACL_ENTRY_BYTES != 1) {
        r->bad = true;
        return;
    }
    p->extended = true;
    p->group_perm = acl[0];
    p->entry_count = (uint8_t)(len / ACL_ENTRY_BYTES);
    for (unsigned i = 0; i < p->entry_count; i++) {
        const unsigned char *at = acl + 1 + i * ACL_ENTRY_BYTES;
        p->entries[i] =
            (struct policy_entry){.tag = at[0], .perm = at[1], .id = (uint32_t)get_le(at + 2, 4)};
    }
}

static void take_versions(struct reader *r, struct store_details *d)
{
    const unsigned char *list = NULL;
    size_t len = 0;

    if (!take(r, NODE_VERSIONS, &list, &len) || len % VERSION_ENTRY_BYTES != 0 ||
        len / VERSION_ENTRY_BYTES > STORE_VERSIONS_KEPT) {
        r->bad = true;
        return;
    }
    d->version_count = (uint32_t)(len / VERSION_ENTRY_BYTES);
    for (uint32_t i = 0; i < d->version_count; i++, list += VERSION_ENTRY_BYTES)
        d->versions[i] = (struct store_version){
            .id = get_le(list, 8),
            .number = (uint32_t)get_le(list + 8, 4),
            .size_bytes = (uint32_t)get_le(list + 12, 4),
            .created_ns = (int64_t)get_le(list + 16, 8),
        };
}

/* Numbers of listed versions in ascending order, each with a time. */
static void take_revoked(struct reader *r, struct store_details *d)
{
    const unsigned char *list = NULL;
    size_t len = 0;
    uint32_t i = 0;

    if (!take(r, NODE_REVOKED, &list, &len))
        return;
    r->bad |= len == 0 || len % REVOKED_ENTRY_BYTES != 0;
    for (; !r->bad && len > 0; len -= REVOKED_ENTRY_BYTES, list += REVOKED_ENTRY_BYTES) {
        while (i < d->version_count && d->versions[i].number != get_le(list, 4))
            i++;
        int64_t when_ns = (int64_t)get_le(list + 4, 8);
        r->bad = i == d->version_count || when_ns == 0;
        if (!r->bad)
            d->versions[i++].revoked_ns = when_ns;
    }
}

static void take_description(struct reader *r, char description[STORE_DESCRIPTION_MAX + 1])
{
    size_t len;
    if (!take_optional(r, NODE_DESCRIPTION, description, STORE_DESCRIPTION_MAX, &len))
        return;
    if (len == 0 || !record_text_valid(description, len))
        r->bad = true;
}

static void take_purge(struct reader *r, struct node_record *node)
{
    int64_t window_ns;

    node->purge_ns = (int64_t)take_optional_number(r, NODE_PURGE);
    if (node->purge_ns && (node->deleted_ns == 0 ||
                           __builtin_sub_overflow(node->purge_ns, node->deleted_ns, &window_ns) ||
                           window_ns < 0 || window_ns > (int64_t)STORE_RECOVERY_MAX_S * SECOND_NS))
        r->bad = true;
}

uint32_t record_recovery_s(const struct node_record *node)
{
    if (node->purge_ns == 0)
        return STORE_RECOVERY_S;
    return (uint32_t)((node->purge_ns - node->deleted_ns + SECOND_NS - 1) / SECOND_NS);
}

static void take_node(struct reader *r, struct node_record *node)
{
    node->kind = (enum store_kind)take_number(r, NODE_KIND, 1);
    node->parent = take_number(r, NODE_PARENT, 8);
    if (!take_optional(r, NODE_NAME, node->name, STORE_NAME_MAX, &node->name_len))
        r->bad = true;
    node->created_ns = (int64_t)take_number(r, NODE_CREATED, 8);
    node->changed_ns = (int64_t)take_number(r, NODE_CHANGED, 8);
    node->linked_ns = (int64_t)take_number(r, NODE_LINKED, 8);
    node->policy.uid = (uint32_t)take_number(r, NODE_UID, 4);
    node->policy.gid = (uint32_t)take_number(r, NODE_GID, 4);
    node->policy.mode = (uint16_t)take_number(r, NODE_MODE, 2);
    take_acl(r, &node->policy);
    take_description(r, node->details.description);
    node->deleted_ns = (int64_t)take_optional_number(r, NODE_DELETED);
    node->details.created_ns = node->created_ns;
}

enum store_err record_decode_node(uint64_t id, const unsigned char *data, size_t len,
                                  struct node_record *ret_node)
{
    struct reader r = {data, data + len, false};
    struct store_details *d = &ret_node->details;
    bool valid = false;

    /* The lists of versions and rules are long, and their lengths say what of them counts. */
    memset(ret_node, 0, offsetof(struct node_record, details.versions));
    ret_node->id = id;
    take_node(&r, ret_node);
    switch (ret_node->kind) {
    case STORE_DIRECTORY:
        ret_node->mtime_ns = (int64_t)take_number(&r, NODE_MTIME, 8);
        take_purge(&r, ret_node);
        valid = true;
        break;
    case STORE_SECRET:
        d->next_number = (uint32_t)take_number(&r, NODE_NEXT_NUMBER, 4);
        d->current = take_number(&r, NODE_CURRENT, 8);
        d->previous = take_optional_number(&r, NODE_PREVIOUS);
        take_versions(&r, d);
        valid = record_versions_valid(d);
        take_revoked(&r, d);
        d->expires_ns = (int64_t)take_optional_number(&r, NODE_EXPIRES);
        d->pending = take_optional_number(&r, NODE_PENDING);
        take_purge(&r, ret_node);
        record_take_rotation(&r, d);
        valid &= d->expires_ns >= 0 && record_label_valid(d, d->pending);
        break;
    }
    record_take_rules(&r, &d->rules);
    if (!valid || !finished(&r) || !record_place_valid(ret_node) ||
        !policy_valid(&ret_node->policy))
        return fault_row(STORE_ERR_INTEGRITY, "read", "node", id, "its record is malformed");
    return STORE_OK;
}

/* ---- Key slots ----------------------------------------------------------- */

size_t record_encode_slot(const struct keyslot *slot, unsigned char *out)
{
    unsigned char *at = out;

    at = put_number(at, SLOT_KIND, slot->kind, 1);
    at = put_bytes(at, SLOT_SALT, slot->salt, sizeof slot->salt);
    at = put_number(at, SLOT_PASSES, slot->cost.passes, 4);
    at = put_number(at, SLOT_MEMORY, slot->cost.memory_kib, 4);
    at = put_bytes(at, SLOT_NONCE, slot->nonce, sizeof slot->nonce);
    at = put_bytes(at, SLOT_COMMITMENT, slot->commitment, sizeof slot->commitment);
    at = put_bytes(at, SLOT_WRAPPED, slot->wrapped, sizeof slot->wrapped);
    if (slot->kind == STORE_SLOT_RECIPIENT) {
        at = put_bytes(at, SLOT_EPHEMERAL, slot->ephemeral, sizeof slot->ephemeral);
        at = put_bytes(at, SLOT_RECIPIENT, slot->recipient, sizeof slot->recipient);
    }
    if (slot->kind == STORE_SLOT_COMMAND)
        at = put_bytes(at, SLOT_COMMAND, slot->command, strlen(slot->command));
    return (size_t)(at - out);
}

enum store_err record_decode_slot(uint64_t id, const unsigned char *data, size_t len,
                                  struct keyslot *ret_slot)
{
    struct reader r = {data, data + len, false};
    struct keyslot slot = {0};
    size_t command_len;

    slot.kind = (enum store_slot_kind)take_number(&r, SLOT_KIND, 1);
    take_exactly(&r, SLOT_SALT, slot.salt, sizeof slot.salt);
    slot.cost.passes = (uint32_t)take_number(&r, SLOT_PASSES, 4);
    slot.cost.memory_kib = (uint32_t)take_number(&r, SLOT_MEMORY, 4);
    take_exactly(&r, SLOT_NONCE, slot.nonce, sizeof slot.nonce);
    take_exactly(&r, SLOT_COMMITMENT, slot.commitment, sizeof slot.commitment);
    take_exactly(&r, SLOT_WRAPPED, slot.wrapped, sizeof slot.wrapped);
    if (slot.kind == STORE_SLOT_RECIPIENT) {
        take_exactly(&r, SLOT_EPHEMERAL, slot.ephemeral, sizeof slot.ephemeral);
        take_exactly(&r, SLOT_RECIPIENT, slot.recipient, sizeof slot.recipient);
    }
    if (slot.kind == STORE_SLOT_COMMAND) {
        take_optional(&r, SLOT_COMMAND, slot.command, STORE_COMMAND_MAX, &command_len);
        r.bad |= command_len != strlen(slot.command);
    }
    if (!finished(&r) || !keyslot_valid(&slot))
        return fault_row(STORE_ERR_INTEGRITY, "read", "slot", id, "its record is malformed");
    *ret_slot = slot;
    return STORE_OK;
}

/* ---- Versions ------------------------------------------------------------ */

#define VERSION_HEAD (FIELD_HEAD + 8 + FIELD_HEAD + 4 + FIELD_HEAD)
_Static_assert(VERSION_HEAD <= RECORD_VERSION_OVERHEAD, "the overhead leaves room for the head");

size_t record_version_len(size_t value_len)
{
    return VERSION_HEAD + value_len;
}

void record_encode_version(uint64_t node, uint32_t number, const struct secbuf *value,
                           unsigned char *out)
{
    unsigned char *at = put_number(out, VERSION_NODE, node, 8);
    at = put_number(at, VERSION_NUMBER, number, 4);
    put_bytes(at, VERSION_VALUE, value->data, value->len);
}

bool record_version_owner(const struct secbuf *buf, uint64_t *ret_node, uint32_t *ret_number)
{
    struct reader r = {buf->data, buf->data + buf->len, false};

    *ret_node = take_number(&r, VERSION_NODE, 8);
    *ret_number = (uint32_t)take_number(&r, VERSION_NUMBER, 4);
    return !r.bad;
}

enum store_err record_decode_version(uint64_t id, uint64_t node, uint32_t number,
                                     struct secbuf *buf)
{
    struct reader r = {buf->data, buf->data + buf->len, false};
    const unsigned char *value = NULL;
    size_t len = 0;

    uint64_t of_node = take_number(&r, VERSION_NODE, 8);
    uint64_t of_number = take_number(&r, VERSION_NUMBER, 4);
    if (!take(&r, VERSION_VALUE, &value, &len) || !finished(&r) || of_node != node ||
        of_number != number || len > STORE_VALUE_MAX) {
        secbuf_wipe(buf);
        return fault_row(STORE_ERR_INTEGRITY, "read", "version", id, "its record is malformed");
    }
    memmove(buf->data, value, len);
    sodium_memzero(buf->data + len, buf->len - len);
    buf->len = len;
    return STORE_OK;
}
