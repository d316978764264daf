/*
 * A whole store. The input is a file, if it begins as one, or changes to that of state A, four
 * bytes each: where, in 2 bytes, what, and with what.
 */
#include "base.h"
#include "bytes.h"

#include <string.h>

#define CHANGE_BYTES 4

static void change(unsigned char *file, size_t len, const uint8_t *c)
{
    size_t at = get_le(c, 2);
    if (at >= len)
        return;
    if (c[2] < 128) {
        file[at] = c[3];
    } else if (c[2] < 192) {
        file[at] = (unsigned char)(file[at] + c[3]);
    } else { /* another part of the file */
        size_t from = (size_t)c[3] * 256;
        size_t count = (c[2] - 191U) * 16;
        if (from + count <= len && at + count <= len)
            memmove(file + at, file + from, count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char magic[] = "SQLite format 3";
    static unsigned char file[65536];
    const struct base_file *a = base_a();
    struct store *store = NULL;
    size_t file_len = a->len;

    if (len > sizeof file)
        return 0;
    if (len >= sizeof magic && memcmp(data, magic, sizeof magic) == 0) {
        memcpy(file, data, len);
        file_len = len;
    } else {
        memcpy(file, a->bytes, a->len);
        for (size_t i = 0; i + CHANGE_BYTES <= len; i += CHANGE_BYTES)
            change(file, file_len, data + i);
    }
    if (base_open(base_write("store.db", file, file_len), &store) == STORE_OK)
        base_check(store);
    store_close(store);
    return 0;
}
