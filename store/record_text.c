/*
 * Which texts a record may hold: names, descriptions, generators. UTF-8 as RFC 3629 has it, less
 * the control characters of both sets (C0, C1) and DEL. FORMAT.md, "Limits".
 */
#include "record.h"
#include "utf8.h"

#include <string.h>

bool record_text_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    while (len > 0) {
        size_t n = utf8_printable(s, len);
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
