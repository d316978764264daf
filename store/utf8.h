/*
 * UTF-8 as RFC 3629 has it: without overlong forms, surrogates and what is beyond U+10FFFF.
 */
#ifndef STORE_UTF8_H
#define STORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length of the character at `s`, of which `len` bytes may be read, or as many as there are
 * before a NUL; 0 if it is none. */
size_t utf8_length(const unsigned char *s, size_t len);

/* The same, 0 for control characters of both sets (C0, C1) and DEL too. */
size_t utf8_printable(const unsigned char *s, size_t len);

#endif
