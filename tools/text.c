/*
 * Escaping for terminals, and numbers.
 *
 * Must not know the store: it gets strings and gives strings.
 */
#include "text.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

bool text_printable(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s) {
        size_t len = utf8_printable(s, SIZE_MAX);
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
        size_t len = utf8_printable(s, SIZE_MAX);
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
