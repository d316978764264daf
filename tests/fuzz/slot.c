/* The record of a key slot, which nothing protects before it is decoded; and opening the slot. */
#include "fuzz.h"
#include "record.h"

#include <string.h>

static void unwrap(const struct keyslot *slot)
{
    static const unsigned char uuid[STORE_UUID_BYTES];
    SECBUF_AUTO struct secbuf key = SECBUF_INIT;
    SECBUF_AUTO struct secbuf root_key = SECBUF_INIT;
    const struct store_credential credential = {STORE_SLOT_KEYFILE, &key};

    FUZZ_PROMISE(secbuf_alloc(&key, STORE_KEY_BYTES) == STORE_OK);
    key.len = STORE_KEY_BYTES;
    FUZZ_PROMISE(keyslot_unwrap(uuid, 1, &credential, slot, &root_key) != STORE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct keyslot slot;
    unsigned char again[RECORD_SLOT_MAX];

    FUZZ_PROMISE(secmem_init() == STORE_OK);
    if (record_decode_slot(1, data, len, &slot) == STORE_OK) {
        FUZZ_PROMISE(keyslot_valid(&slot));
        FUZZ_PROMISE(record_encode_slot(&slot, again) == len);
        FUZZ_PROMISE(memcmp(again, data, len) == 0);
        if (slot.kind == STORE_SLOT_KEYFILE)
            unwrap(&slot);
    }
    return 0;
}
