/*
 * Giving up what a process has no use for.
 */
#ifndef FS_PRIVILEGES_H
#define FS_PRIVILEGES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Become `uid` and `gid` without other groups, and keep of the capabilities below 32 those whose
 * bits are set in `capabilities`: none other, now or ever again, whatever the uid or the program.
 * A plain user, and numbers that are none in our user namespace, stay as they are. No core, no
 * reading of the process's memory by its own uid; it ends with its parent. Call it before there are
 * threads. Returns false with errno.
 */
bool privileges_drop(uint32_t uid, uint32_t gid, uint32_t capabilities);

#endif
