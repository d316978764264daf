/*
 * A disk that fails when it is told to: SQLite's default VFS, in the test's process only. What is
 * done goes to the real files, and to the model of media.h. Operations are counted; a fault comes
 * at the Nth of those that it is about.
 */
#ifndef TESTS_FAULT_DISK_H
#define TESTS_FAULT_DISK_H

#include <stdbool.h>
#include <stddef.h>

enum disk_operation {
    DISK_OPEN = 1 << 0,
    DISK_READ = 1 << 1,
    DISK_WRITE = 1 << 2,
    DISK_TRUNCATE = 1 << 3,
    DISK_SYNC = 1 << 4,
    DISK_DELETE = 1 << 5,
    DISK_LOCK = 1 << 6,  /* of the file, or in the shared memory */
    DISK_SHARE = 1 << 7, /* map shared memory */
};
#define DISK_ANY 0xffU
#define DISK_CHANGES (DISK_OPEN | DISK_WRITE | DISK_TRUNCATE | DISK_SYNC | DISK_DELETE)

/* What becomes of the Nth operation. */
struct disk_fault {
    unsigned operations; /* which ones count */
    size_t number;       /* from 1; 0: none fails, they are only counted */
    int sys_errno;       /* EIO or ENOSPC; 0: the power is gone */
    bool for_good;       /* all that follow fail too */
};

/* Make it SQLite's default VFS; call before anything uses SQLite. */
void disk_install(void);

/* From now on; what is on the disk is taken to be synced. */
void disk_start(struct disk_fault fault);

/* No more faults. Returns how many operations were counted since disk_start(). */
size_t disk_stop(void);

/* Whether the fault has come. */
bool disk_has_failed(void);

#endif
