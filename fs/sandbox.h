/*
 * The cages. The worker's: Landlock, so that it reaches no file but those in the store's folder,
 * and a seccomp filter, so that a system call it has no use for ends it. Both are entered once and
 * hold for all threads begun later.
 */
#ifndef FS_SANDBOX_H
#define FS_SANDBOX_H

#include <stdbool.h>

/* Whether this is a build with a sanitizer, whose reports need calls and files of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#else
#define SANDBOX_SANITIZED 0
#endif

/*
 * Enter both, for a store at the absolute path `store`. PR_SET_NO_NEW_PRIVS must be set. A kernel
 * without Landlock is accepted. Returns false with errno.
 */
bool sandbox_enter(const char *store);

/* The notifier's: system calls only, as it opens nothing outside its mount. Otherwise the same. */
bool sandbox_enter_notifier(void);

#endif
