/* The record of a version: node, number and value. */
#include "fuzz.h"
#include "record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint64_t node = 17;
    const uint32_t number = 3;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;

    FUZZ_PROMISE(secmem_init() == STORE_OK);
    FUZZ_PROMISE(secbuf_alloc(&buf, len) == STORE_OK);
    if (len > 0)
        memcpy(buf.data, data, len);
    buf.len = len;
    if (record_decode_version(18, node, number, &buf) != STORE_OK)
        return 0;
    FUZZ_PROMISE(record_version_len(buf.len) == len);
    SECBUF_AUTO struct secbuf again = SECBUF_INIT;
    FUZZ_PROMISE(secbuf_alloc(&again, len) == STORE_OK);
    record_encode_version(node, number, &buf, again.data);
    FUZZ_PROMISE(memcmp(again.data, data, len) == 0);
    return 0;
}
