/*
 * Escaping for terminals, and numbers. UTF-8 as RFC 3629 has it, less
 * the control characters of both sets (C0, C1) and DEL.
 *
 * Must not know the store: it gets strings and gives strings.
 */
#include "text.h"

#include <stdlib.h>
#include <string.h>

static bool continues(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return false;
    }
    return true;
}

/* How many bytes the character at `s` has; 0 for one that is not printable UTF-8. */
static size_t character_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return continues(s + 1, 1) && (s[0] != 0xc2 || s[1] >= 0xa0) ? 2 : 0;
    if (s[0] >= 0xe0 && s[0] <= 0xef) {
        bool overlong = s[0] == 0xe0 && s[1] < 0xa0;
        bool surrogate = s[0] == 0xed && s[1] > 0x9f;
        return continues(s + 1, 2) && !overlong && !surrogate ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        bool overlong = s[0] == 0xf0 && s[1] < 0x90;
        bool beyond = s[0] == 0xf4 && s[1] > 0x8f;
        return continues(s + 1, 3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

bool text_printable(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s) {
        size_t len = character_length(s);
        if (len == 0)
            return false;
        s += len;
    }
    return true;
}

/* The worst case of a byte is four: \xHH. */
char *text_escape(const char *text)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)text;
    char *escaped = malloc(strlen(text) * 4 + 1);
    char *out = escaped;

    if (!escaped)
        return NULL;
    while (*s) {
        size_t len = character_length(s);
        if (len > 0) {
            memcpy(out, s, len);
            out += len;
            s += len;
        } else {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = digits[*s >> 4];
            *out++ = digits[*s & 15];
            s++;
        }
    }
    *out = '\0';
    return escaped;
}

void text_print(FILE *out, const char *text)
{
    char *escaped = text_escape(text);

    fputs(escaped ? escaped : "?", out);
    free(escaped);
}

bool text_number(const char *text, uint32_t max, uint32_t *ret_number)
{
    uint64_t number = 0;

    if (!text[0])
        return false;
    for (const char *s = text; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        number = number * 10 + (uint64_t)(*s - '0');
        if (number > max)
            return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}
