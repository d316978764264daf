/*
 * See utf8.h.
 */
#include "utf8.h"

/* out: ret_character  untouched where the length is 0 */
static size_t decode(const unsigned char *s, size_t len, uint32_t *ret_character)
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
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret_character = c;
    return n;
}

size_t utf8_length(const unsigned char *s, size_t len)
{
    uint32_t character;
    return decode(s, len, &character);
}

size_t utf8_printable(const unsigned char *s, size_t len)
{
    uint32_t c = 0;
    size_t n = decode(s, len, &c);
    return c < 0x20 || (c >= 0x7f && c < 0xa0) ? 0 : n;
}
