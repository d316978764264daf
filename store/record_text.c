/*
 * Which texts a record may hold: names, descriptions, generators. UTF-8 as RFC 3629 has it, less
 * the control characters of both sets (C0, C1) and DEL. FORMAT.md, "Limits".
 */
#include "record.h"

#include <string.h>

/* The length of the UTF-8 sequence at `s`, 0 if there is none; control characters count as none. */
static size_t printable_sequence(const unsigned char *s, size_t len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    return c < smallest[n] || c > 0x10ffff || surrogate || control ? 0 : n;
}

bool record_text_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    while (len > 0) {
        size_t n = printable_sequence(s, len);
        if (n == 0)
            return false;
        s += n;
        len -= n;
    }
    return true;
}

bool record_name_valid(const char *name, size_t len, bool in_root)
{
    if (len == 0 || len > STORE_NAME_MAX || memchr(name, '/', len))
        return false;
    if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
        return false;
    return !(in_root && name[0] == '@') && record_text_valid(name, len);
}

bool record_description_valid(const char *text)
{
    size_t len = strnlen(text, STORE_DESCRIPTION_MAX + 1);
    return len <= STORE_DESCRIPTION_MAX && record_text_valid(text, len);
}
