/*
 * Modes as text. The symbolic grammar is that of chmod(1) in POSIX.1, less s and t, which a secret
 * has no use for:  [ugoa]*([-+=]([rwxX]*|[ugo]))+, separated by commas.
 *
 * Pure computation; knows no store.
 */
#include "mode.h"

#include <string.h>

bool mode_parse_octal(const char *text, uint16_t *ret_mode)
{
    unsigned mode = 0;

    if (!text[0])
        return false;
    for (const char *s = text; *s; s++) {
        if (*s < '0' || *s > '7')
            return false;
        mode = mode * 8 + (unsigned)(*s - '0');
        if (mode > 0777)
            return false;
    }
    *ret_mode = (uint16_t)mode;
    return true;
}

/* Whose bits: a mask over the mode. */
static unsigned parse_who(const char **s)
{
    unsigned who = 0;

    for (; **s && strchr("ugoa", **s); (*s)++) {
        switch (**s) {
        case 'u':
            who |= 0700;
            break;
        case 'g':
            who |= 0070;
            break;
        case 'o':
            who |= 0007;
            break;
        default:
            who |= 0777;
            break;
        }
    }
    return who;
}

/* Which permissions, the same for all three classes. */
static unsigned parse_permissions(const char **s, unsigned mode, bool directory)
{
    unsigned perm = 0;

    if (**s && strchr("ugo", **s)) {
        unsigned shift = **s == 'u' ? 6 : **s == 'g' ? 3 : 0;
        (*s)++;
        return (mode >> shift & 7) * 0111;
    }
    for (; **s && strchr("rwxX", **s); (*s)++) {
        switch (**s) {
        case 'r':
            perm |= 0444;
            break;
        case 'w':
            perm |= 0222;
            break;
        case 'x':
            perm |= 0111;
            break;
        default:
            perm |= directory || (mode & 0111) ? 0111 : 0;
            break;
        }
    }
    return perm;
}

/* One clause; `*s` is left behind it. */
static bool apply_clause(const char **s, unsigned *mode, bool directory, mode_t mask)
{
    unsigned who = parse_who(s);
    unsigned allowed = who ? who : 0777 & ~(unsigned)mask;

    if (!**s || !strchr("+-=", **s))
        return false;
    while (**s && strchr("+-=", **s)) {
        char operation = *(*s)++;
        unsigned perm = parse_permissions(s, *mode, directory) & allowed;
        if (operation == '-')
            *mode &= ~perm;
        else if (operation == '+')
            *mode |= perm;
        else
            *mode = (*mode & ~(who ? who : 0777)) | perm;
    }
    return true;
}

bool mode_change(const char *text, uint16_t old, bool directory, mode_t mask, uint16_t *ret_mode)
{
    unsigned mode = old;
    const char *s = text;

    if (text[0] >= '0' && text[0] <= '9')
        return mode_parse_octal(text, ret_mode);
    while (true) {
        if (!apply_clause(&s, &mode, directory, mask))
            return false;
        if (!*s)
            break;
        if (*s++ != ',')
            return false;
    }
    *ret_mode = (uint16_t)mode;
    return true;
}

void mode_print_perm(unsigned perm, char ret_text[static MODE_PERM_TEXT])
{
    ret_text[0] = perm & 4 ? 'r' : '-';
    ret_text[1] = perm & 2 ? 'w' : '-';
    ret_text[2] = perm & 1 ? 'x' : '-';
    ret_text[3] = '\0';
}

void mode_print(uint16_t mode, char ret_text[static MODE_TEXT])
{
    mode_print_perm(mode >> 6 & 7, ret_text);
    mode_print_perm(mode >> 3 & 7, ret_text + 3);
    mode_print_perm(mode & 7, ret_text + 6);
}
