/* A policy: the input is owner, group, mode and an ACL, in the record of a directory. */
#include "bytes.h"
#include "fields.h"
#include "fuzz.h"
#include "record.h"

#include <string.h>

#define OWNER_BYTES 10
#define ACL_TAG 10
#define OWNER_TAG 7 /* group and mode follow */
#define MTIME_TAG 13

/* The record of a directory "d" without its policy. */
static unsigned char *put_rest(unsigned char *at)
{
    at = put_number(at, 1, STORE_DIRECTORY, 1);
    at = put_number(at, 2, STORE_ROOT_ID, 8);
    at = put_bytes(at, 3, "d", 1);
    for (uint8_t tag = 4; tag < OWNER_TAG; tag++)
        at = put_number(at, tag, 1, 8);
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct node_record node;
    unsigned char record[2048];
    unsigned char *at;

    if (len < OWNER_BYTES || len > sizeof record / 2)
        return 0;
    at = put_rest(record);
    at = put_bytes(at, OWNER_TAG, data, 4);
    at = put_bytes(at, OWNER_TAG + 1, data + 4, 4);
    at = put_bytes(at, OWNER_TAG + 2, data + 8, 2);
    if (len > OWNER_BYTES)
        at = put_bytes(at, ACL_TAG, data + OWNER_BYTES, len - OWNER_BYTES);
    at = put_number(at, MTIME_TAG, 1, 8);
    if (record_decode_node(STORE_ROOT_ID + 1, record, (size_t)(at - record), &node) != STORE_OK)
        return 0;

    struct policy *p = &node.policy;
    FUZZ_PROMISE(policy_valid(p) && p->uid == get_le(data, 4) && p->gid == get_le(data + 4, 4));
    FUZZ_PROMISE(p->mode == get_le(data + 8, 2) && p->extended == (len > OWNER_BYTES));
    policy_fit_mask(p);
    FUZZ_PROMISE(policy_valid(p));
    policy_clear_acl(p);
    FUZZ_PROMISE(policy_valid(p) && !p->extended);
    return 0;
}
