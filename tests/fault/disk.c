/*
 * See disk.h. A shim over SQLite's own VFS (https://www.sqlite.org/vfs.html, "VFS shims").
 */
#include "disk.h"
#include "helpers.h"
#include "media.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

/* The real file comes right behind it. */
struct disk_handle {
    sqlite3_file base;
    struct media_file *media; /* NULL: not followed */
};

static sqlite3_vfs *real_vfs;
static struct disk_fault fault;
static bool watching;
static bool failed;
static size_t counted;

static sqlite3_file *real(sqlite3_file *file)
{
    return (sqlite3_file *)((struct disk_handle *)(void *)file + 1);
}

static struct media_file *media_of(sqlite3_file *file)
{
    return watching ? ((struct disk_handle *)(void *)file)->media : NULL;
}

/* Whether this operation fails; errno tells why, as after a system call. */
static bool fails(enum disk_operation operation)
{
    bool now = false;
    if (!watching)
        return false;
    if (failed && fault.sys_errno == 0)
        now = true; /* without power nothing works, whatever it is */
    if (!now && (fault.operations & operation) == 0)
        return false;
    counted++;
    if (fault.number > 0 && !now)
        now = counted == fault.number || (counted > fault.number && fault.for_good);
    if (now) {
        failed = true;
        errno = fault.sys_errno ? fault.sys_errno : EIO;
    }
    return now;
}

/* ---- Files -------------------------------------------------------------------------------------
 */

static int on_close(sqlite3_file *file)
{
    return real(file)->pMethods ? real(file)->pMethods->xClose(real(file)) : SQLITE_OK;
}

static int on_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at)
{
    if (fails(DISK_READ))
        return SQLITE_IOERR_READ;
    return real(file)->pMethods->xRead(real(file), bytes, len, at);
}

static int on_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
    if (fails(DISK_WRITE))
        return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    if (media_of(file))
        media_write(media_of(file), (uint64_t)at, bytes, (size_t)len);
    return real(file)->pMethods->xWrite(real(file), bytes, len, at);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (fails(DISK_TRUNCATE))
        return SQLITE_IOERR_TRUNCATE;
    if (media_of(file))
        media_truncate(media_of(file), (uint64_t)size);
    return real(file)->pMethods->xTruncate(real(file), size);
}

/* The model is synced, the real file need not be. */
static int on_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    if (fails(DISK_SYNC))
        return SQLITE_IOERR_FSYNC;
    if (media_of(file))
        media_sync(media_of(file));
    return SQLITE_OK;
}

static int on_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return real(file)->pMethods->xFileSize(real(file), ret_size);
}

static int on_lock(sqlite3_file *file, int level)
{
    if (fails(DISK_LOCK))
        return SQLITE_IOERR_LOCK;
    return real(file)->pMethods->xLock(real(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int on_check_reserved_lock(sqlite3_file *file, int *ret_locked)
{
    if (fails(DISK_LOCK))
        return SQLITE_IOERR_CHECKRESERVEDLOCK;
    return real(file)->pMethods->xCheckReservedLock(real(file), ret_locked);
}

/* SQLite asks for room ahead of time, and goes on where there is none: no operation that counts. */
static int on_file_control(sqlite3_file *file, int operation, void *arg)
{
    if (operation == SQLITE_FCNTL_SIZE_HINT)
        return SQLITE_OK;
    return real(file)->pMethods->xFileControl(real(file), operation, arg);
}

static int on_sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int on_device_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int on_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
    if (fails(DISK_SHARE)) {
        *ret = NULL;
        return SQLITE_IOERR_SHMSIZE;
    }
    return real(file)->pMethods->xShmMap(real(file), region, size, extend, ret);
}

static int on_shm_lock(sqlite3_file *file, int from, int count, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) && fails(DISK_LOCK))
        return SQLITE_IOERR_SHMLOCK;
    return real(file)->pMethods->xShmLock(real(file), from, count, flags);
}

static void on_shm_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int on_shm_unmap(sqlite3_file *file, int delete)
{
    return real(file)->pMethods->xShmUnmap(real(file), delete);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, /* without memory-mapped files, which the store doesn't use */
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_reserved_lock,
    .xFileControl = on_file_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_device_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

/* ---- Names -------------------------------------------------------------------------------------
 */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                   int *ret_flags)
{
    struct disk_handle *handle = (struct disk_handle *)(void *)file;
    int there = 0;
    (void)vfs; /* a copy with a name of its own, see db_wait.c */

    file->pMethods = NULL;
    if (fails(DISK_OPEN))
        return SQLITE_CANTOPEN;
    if (name)
        real_vfs->xAccess(real_vfs, name, SQLITE_ACCESS_EXISTS, &there);
    int code = real_vfs->xOpen(real_vfs, name, real(file), flags, ret_flags);
    if (real(file)->pMethods)
        file->pMethods = &methods;
    handle->media = code == SQLITE_OK && name && watching ? media_file(name, !there) : NULL;
    return code;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    if (fails(DISK_DELETE))
        return SQLITE_IOERR_DELETE;
    if (watching)
        media_remove(name, sync);
    return real_vfs->xDelete(real_vfs, name, sync);
}

void disk_install(void)
{
    static sqlite3_vfs vfs;

    real_vfs = sqlite3_vfs_find(NULL);
    assert_non_null(real_vfs);
    vfs = *real_vfs;
    vfs.pNext = NULL;
    vfs.zName = "disk";
    vfs.szOsFile += (int)sizeof(struct disk_handle);
    vfs.xOpen = on_open;
    vfs.xDelete = on_delete;
    assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

void disk_start(struct disk_fault new_fault)
{
    media_reset();
    fault = new_fault;
    failed = false;
    counted = 0;
    watching = true;
}

size_t disk_stop(void)
{
    watching = false;
    return counted;
}

bool disk_has_failed(void)
{
    return failed;
}
