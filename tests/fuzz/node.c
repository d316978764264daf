/* The record of a directory or a secret: the tree, policies, versions, labels, rotation, rules. */
#include "fuzz.h"
#include "record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct node_record node;
    static unsigned char again[RECORD_NODE_MAX];
    const uint64_t ids[] = {STORE_ROOT_ID, STORE_ROOT_ID + 1};

    for (size_t i = 0; i < 2; i++) {
        if (record_decode_node(ids[i], data, len, &node) != STORE_OK)
            continue;
        FUZZ_PROMISE(policy_valid(&node.policy) && record_place_valid(&node));
        if (node.kind == STORE_SECRET)
            FUZZ_PROMISE(record_versions_valid(&node.details));
        FUZZ_PROMISE(store_rules_valid(&node.details.rules));
        FUZZ_PROMISE(record_description_valid(node.details.description));
        /* There is one way to write it. */
        FUZZ_PROMISE(len <= sizeof again && record_encode_node(&node, again) == len);
        FUZZ_PROMISE(memcmp(again, data, len) == 0);
    }
    return 0;
}
