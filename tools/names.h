/*
 * Users and groups: names to numbers and back. Must not know the store.
 */
#ifndef TOOLS_NAMES_H
#define TOOLS_NAMES_H

#include <stdbool.h>
#include <stdint.h>

/* A name, else a number below 2^32 - 1 (which chown(2) uses for "leave it"). False: there is none.
 */
bool names_find_user(const char *text, uint32_t *ret_uid);
bool names_find_group(const char *text, uint32_t *ret_gid);

/* The group a user logs in with. False: there is no such user. */
bool names_login_group(uint32_t uid, uint32_t *ret_gid);

/*
 * The name of a user or group, its number in digits where it has none that can be printed. Never
 * NULL; valid until the next call of the same function for another id.
 */
const char *names_user(uint32_t uid);
const char *names_group(uint32_t gid);

#endif
