/*
 * A copy of the database by SQLite's backup API (https://www.sqlite.org/backup.html): one state of
 * it, whatever others write meanwhile.
 */
#include "db_state.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Without a journal: a copy that fails is thrown away whole. */
static bool open_target(const char *path, sqlite3 **ret_target)
{
    return sqlite3_open_v2(path, ret_target,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                               SQLITE_OPEN_EXRESCODE,
                           NULL) == SQLITE_OK &&
           sqlite3_exec(*ret_target, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", NULL, NULL,
                        NULL) == SQLITE_OK;
}

/* The target has the fault, also of reading the source. Between the steps the transaction of the
 * source lasts, so that all see the same state. */
static enum store_err copy(sqlite3 *source, sqlite3 *target, db_copied_fn *copied, void *arg)
{
    const struct db failed = {.handle = target};
    sqlite3_backup *backup = sqlite3_backup_init(target, "main", source, "main");
    uint64_t pages = 0;
    int code;

    if (backup == NULL)
        return db_fail(&failed, "copy the store");
    while ((code = sqlite3_backup_step(backup, DB_COPY_PAGES)) == SQLITE_OK)
        copied(arg, pages += DB_COPY_PAGES, (uint64_t)sqlite3_backup_pagecount(backup));
    if (sqlite3_backup_finish(backup) == SQLITE_OK && code == SQLITE_DONE)
        return STORE_OK;
    return db_fail(&failed, "copy the store");
}

static enum store_err sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum store_err err = STORE_OK;

    if (fd < 0 || fsync(fd) != 0)
        err = fault_errno(errno, "copy", "the copy");
    if (fd >= 0)
        close(fd);
    return err;
}

enum store_err db_backup(struct db *db, const char *path, db_copied_fn *copied, void *arg)
{
    sqlite3 *target = NULL;
    enum store_err err = STORE_OK;

    if (open_target(path, &target)) {
        err = copy(db->handle, target, copied, arg);
    } else if (target) {
        const struct db failed = {.handle = target};
        err = db_fail(&failed, "open the copy");
    } else {
        err = fault_errno(ENOMEM, "open", "the copy");
    }
    sqlite3_close(target);
    return err ? err : sync_file(path);
}
