/*
 * Exit statuses, the same as secretctl's, and what an error of the store is among them.
 */
#ifndef FS_STATUS_H
#define FS_STATUS_H

#include "error.h"

enum status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_LOCKED = 4,
    STATUS_INTEGRITY = 5,
};

static inline enum status status_of(enum store_err err)
{
    if (err == STORE_OK)
        return STATUS_DONE;
    if (err == STORE_ERR_KEY)
        return STATUS_LOCKED;
    return err == STORE_ERR_INTEGRITY || err == STORE_ERR_ANCHOR ? STATUS_INTEGRITY : STATUS_FAILED;
}

#endif
