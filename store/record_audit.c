/*
 * What a root record says of the record of what was read and changed. FORMAT.md, "Root record".
 */
#include "fields.h"
#include "record.h"

#define FORMER_BYTES (8 + AUDIT_HASH_BYTES + AUDIT_FORMER_BOX)
#define CHECKPOINT_BYTES (8 + AUDIT_HASH_BYTES + 8)

enum root_audit_field { ROOT_FORMER = 6, ROOT_CHECKPOINT };

static void put_head_bytes(unsigned char *at, const struct audit_head *head)
{
    put_le(at, head->number, 8);
    memcpy(at + 8, head->hash, AUDIT_HASH_BYTES);
}

static void take_head(const unsigned char *at, struct audit_head *ret_head)
{
    ret_head->number = get_le(at, 8);
    memcpy(ret_head->hash, at + 8, AUDIT_HASH_BYTES);
}

unsigned char *record_put_audit(unsigned char *at, const struct root_record *root)
{
    unsigned char formers[AUDIT_FORMER_MAX * FORMER_BYTES];
    unsigned char checkpoint[CHECKPOINT_BYTES];
    unsigned char *end = formers;

    for (uint32_t i = 0; i < root->former_count; i++, end += FORMER_BYTES) {
        put_head_bytes(end, &root->former[i].head);
        memcpy(end + 8 + AUDIT_HASH_BYTES, root->former[i].box, AUDIT_FORMER_BOX);
    }
    if (end > formers)
        at = put_bytes(at, ROOT_FORMER, formers, (size_t)(end - formers));
    if (root->checkpoint.time_ns == 0)
        return at;
    put_head_bytes(checkpoint, &root->checkpoint.head);
    put_le(checkpoint + 8 + AUDIT_HASH_BYTES, (uint64_t)root->checkpoint.time_ns, 8);
    return put_bytes(at, ROOT_CHECKPOINT, checkpoint, sizeof checkpoint);
}

static void take_formers(struct reader *r, struct root_record *ret_root)
{
    unsigned char formers[AUDIT_FORMER_MAX * FORMER_BYTES];
    uint64_t last = 0;
    size_t len;

    if (!take_optional(r, ROOT_FORMER, formers, sizeof formers, &len))
        return;
    r->bad |= len == 0 || len % FORMER_BYTES != 0;
    ret_root->former_count = r->bad ? 0 : (uint32_t)(len / FORMER_BYTES);
    for (uint32_t i = 0; i < ret_root->former_count; i++) {
        const unsigned char *at = formers + i * FORMER_BYTES;
        struct audit_former *former = &ret_root->former[i];
        take_head(at, &former->head);
        memcpy(former->box, at + 8 + AUDIT_HASH_BYTES, AUDIT_FORMER_BOX);
        r->bad |= former->head.number < last;
        last = former->head.number;
    }
}

void record_take_audit(struct reader *r, struct root_record *ret_root)
{
    unsigned char checkpoint[CHECKPOINT_BYTES];
    size_t len;

    take_formers(r, ret_root);
    if (!take_optional(r, ROOT_CHECKPOINT, checkpoint, sizeof checkpoint, &len))
        return;
    if (len != sizeof checkpoint) {
        r->bad = true;
        return;
    }
    take_head(checkpoint, &ret_root->checkpoint.head);
    ret_root->checkpoint.time_ns = (int64_t)get_le(checkpoint + 8 + AUDIT_HASH_BYTES, 8);
    r->bad |= ret_root->checkpoint.time_ns == 0;
}
