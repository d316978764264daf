/* The root record. */
#include "fuzz.h"
#include "record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct root_record root;
    unsigned char again[RECORD_ROOT_MAX];

    if (record_decode_root(data, len, &root) == STORE_OK) {
        /* There is one way to write it. */
        FUZZ_PROMISE(record_encode_root(&root, again) == len);
        FUZZ_PROMISE(memcmp(again, data, len) == 0);
    }
    return 0;
}
