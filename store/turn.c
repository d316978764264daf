/*
 * Taking turns at the connection, and how long a turn may wait for the locks of other processes.
 *
 * Whoever reads a mount waits for others as well: those who have their turn before, and those who
 * keep the daemon's threads from taking up the request. If each waited its own time for a store
 * that is locked, the last one would wait for the sum. So the time is counted from when the first
 * found it locked; once it is over, everybody tries once and goes, until somebody gets through.
 */
#include "clock.h"
#include "state.h"

void turn_begin(struct store *store)
{
    struct patience *p = &store->patience;

    pthread_mutex_lock(&store->db_lock);
    if (!store->follows)
        return;
    int64_t now = clock_now_ms();
    /* What was found a while ago says nothing of now. */
    if (!p->locked || now - p->last_ms > STORE_FOLLOW_WAIT_MS)
        p->since_ms = now;
    int64_t left = p->since_ms + STORE_FOLLOW_WAIT_MS - now;
    db_limit_waiting(store->db, left > 0 ? (int)left : 0);
}

void turn_end(struct store *store, enum store_err err)
{
    struct patience *p = &store->patience;

    if (store->follows) {
        if (err == STORE_ERR_BUSY) {
            p->locked = true;
            p->last_ms = clock_now_ms();
        } else if (!err) {
            p->locked = false;
        }
        db_limit_waiting(store->db, -1);
    }
    pthread_mutex_unlock(&store->db_lock);
}
