/*
 * Waiting for the locks of other processes, no longer than until a deadline.
 *
 * SQLite waits in two places. One is the busy handler. The other is a loop at the begin of a read
 * transaction (sqlite3WalBeginReadTransaction() in its wal.c) for locks that are held in passing:
 * 100 tries with growing pauses, 10 s in all, then SQLITE_PROTOCOL. No setting shortens it, and a
 * process that is stopped at the wrong moment makes it last. But it pauses by xSleep of its VFS; so
 * every connection has a VFS of its own, which is the default one but for this.
 */
#include "clock.h"
#include "db_state.h"

#include <stddef.h>
#include <stdio.h>
#include <time.h>

#define DEFAULT_WAIT_MS 5000
#define PAUSE_MAX_MS 25

#define MS 1000000LL /* in nanoseconds */

/* Pause for `pause_ns`, or until `until_ns` where that is sooner. Returns whether there was time
 * left. */
static bool pause_until(int64_t until_ns, int64_t pause_ns)
{
    int64_t left = until_ns - clock_ns(CLOCK_MONOTONIC);
    if (left <= 0)
        return false;
    if (pause_ns > left)
        pause_ns = left;
    nanosleep(&(struct timespec){.tv_sec = pause_ns / CLOCK_SECOND_NS,
                                 .tv_nsec = pause_ns % CLOCK_SECOND_NS},
              NULL);
    return true;
}

static int on_busy(void *arg, int tries)
{
    struct db *db = arg;
    int64_t pause_ms = tries < PAUSE_MAX_MS ? tries + 1 : PAUSE_MAX_MS;

    if (tries == 0)
        db->busy_until_ns =
            db->deadline_ns ? db->deadline_ns : clock_ns(CLOCK_MONOTONIC) + DEFAULT_WAIT_MS * MS;
    return pause_until(db->busy_until_ns, pause_ms * MS);
}

static int on_sleep(sqlite3_vfs *vfs, int microseconds)
{
    struct db *db = (struct db *)(void *)((char *)vfs - offsetof(struct db, vfs));

    if (db->deadline_ns == 0)
        return db->default_vfs->xSleep(db->default_vfs, microseconds);
    pause_until(db->deadline_ns, microseconds * 1000LL);
    return microseconds;
}

bool db_wait_register(struct db *db)
{
    db->default_vfs = sqlite3_vfs_find(NULL);
    if (db->default_vfs == NULL)
        return false;
    snprintf(db->vfs_name, sizeof db->vfs_name, "secretfs-%p", (void *)db);
    db->vfs = *db->default_vfs;
    db->vfs.pNext = NULL;
    db->vfs.zName = db->vfs_name;
    db->vfs.xSleep = on_sleep;
    return sqlite3_vfs_register(&db->vfs, 0) == SQLITE_OK;
}

void db_wait_unregister(struct db *db)
{
    if (db->default_vfs)
        sqlite3_vfs_unregister(&db->vfs);
}

void db_wait_start(struct db *db)
{
    sqlite3_busy_handler(db->handle, on_busy, db);
}

void db_limit_waiting(struct db *db, int wait_ms)
{
    db->deadline_ns = wait_ms < 0 ? 0 : clock_ns(CLOCK_MONOTONIC) + wait_ms * MS;
}
