/*
 * Modes as chmod(1) takes and ls(1) shows them.
 *
 * Pure computation; knows no store.
 */
#ifndef TOOLS_MODE_H
#define TOOLS_MODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* An octal mode, 0 to 0777. */
bool mode_parse_octal(const char *text, uint16_t *ret_mode);

/*
 * What `text`, octal or symbolic, makes of the mode `old`.
 * in:  directory  for X: execute where it makes sense
 *      mask       the umask, for clauses that don't say whose bits they change
 */
bool mode_change(const char *text, uint16_t old, bool directory, mode_t mask, uint16_t *ret_mode);

/* "rwxr-x---" and a NUL. */
#define MODE_TEXT 10
void mode_print(uint16_t mode, char ret_text[static MODE_TEXT]);

/* "rw-" and a NUL. */
#define MODE_PERM_TEXT 4
void mode_print_perm(unsigned perm, char ret_text[static MODE_PERM_TEXT]);

#endif
