/*
 * See pool.h. Turns are a semaphore, which a thread keeps one of from request to request; what is
 * taken from it by the watch meanwhile, it notices before the next.
 */
#include "pool.h"
#include "clock.h"

#include <time.h>

#define AT_ONCE_NS 4000 /* a request that is there takes less to be read, one that isn't more */
#define ENOUGH 32       /* more requests at once than waited for: another thread is of use */
#define WAITED (-2)     /* what one that was waited for counts */

static _Thread_local struct pool_thread *current;

/* Let another one have the turn. */
static void give(struct pool_thread *thread)
{
    if (atomic_exchange(&thread->takes, false))
        sem_post(&thread->pool->turns);
}

/* ---- More, or fewer ------------------------------------------------------ */

static void add_turn(struct pool *pool)
{
    unsigned n = pool->turn_count;

    if (n < pool->count && atomic_compare_exchange_strong(&pool->turn_count, &n, n + 1))
        sem_post(&pool->turns);
}

static void drop_turn(struct pool_thread *thread)
{
    unsigned n = thread->pool->turn_count;

    if (n == 1 || !atomic_exchange(&thread->takes, false))
        return;
    if (!atomic_compare_exchange_strong(&thread->pool->turn_count, &n, n - 1))
        sem_post(&thread->pool->turns);
}

static void weigh(struct pool_thread *thread, bool at_once)
{
    thread->balance += at_once ? 1 : WAITED;
    if (thread->balance > -ENOUGH && thread->balance < ENOUGH)
        return;
    if (thread->balance > 0)
        add_turn(thread->pool);
    else
        drop_turn(thread);
    thread->balance = 0;
}

/* ---- The watch ----------------------------------------------------------- */

static uint64_t count_requests(const struct pool *pool)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < pool->count; i++)
        n += pool->threads[i].requests;
    return n;
}

/* Whether a thread is at a request. Those that are too long at one lose their turn. */
static bool look(struct pool *pool)
{
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    bool busy = false;

    for (unsigned i = 0; i < pool->count; i++) {
        int64_t since_ns = pool->threads[i].since_ns;
        busy |= since_ns != 0;
        if (since_ns && now_ns - since_ns >= POOL_PATIENCE_NS)
            give(&pool->threads[i]);
    }
    return busy;
}

static void *watch(void *arg)
{
    const struct timespec while_ = {.tv_nsec = POOL_PATIENCE_NS};
    struct pool *pool = arg;
    uint64_t seen = 0;

    while (!pool->stopped) {
        uint64_t before = seen;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &while_, NULL);
        bool busy = look(pool);
        seen = count_requests(pool);
        if (busy || seen != before)
            continue;
        pool->resting = true;
        if (count_requests(pool) != seen || pool->stopped)
            pool->resting = false;
        else
            while (pool->resting)
                sem_wait(&pool->wake);
    }
    return NULL;
}

static void wake_watch(struct pool *pool)
{
    if (pool->resting && atomic_exchange(&pool->resting, false))
        sem_post(&pool->wake);
}

/* ---- The threads --------------------------------------------------------- */

int pool_start(struct pool *pool, unsigned count)
{
    *pool = (struct pool){.count = count, .turn_count = 1};
    for (unsigned i = 0; i < count; i++)
        pool->threads[i].pool = pool;
    sem_init(&pool->turns, 0, 1);
    sem_init(&pool->wake, 0, 0);
    int error = pthread_create(&pool->watch, NULL, watch, pool);
    if (error)
        pool->count = 0;
    return error;
}

void pool_stop(struct pool *pool)
{
    if (pool->count == 0)
        return;
    pool->stopped = true;
    wake_watch(pool);
    pthread_join(pool->watch, NULL);
    sem_destroy(&pool->turns);
    sem_destroy(&pool->wake);
}

bool pool_enter(struct pool_thread *thread)
{
    current = thread;
    if (thread->takes)
        return true;
    if (sem_wait(&thread->pool->turns) != 0)
        return false;
    thread->balance = 0;
    thread->takes = true;
    return true;
}

void pool_took(struct pool_thread *thread, int64_t from_ns, int64_t now_ns)
{
    thread->since_ns = now_ns;
    thread->requests++;
    wake_watch(thread->pool);
    weigh(thread, now_ns - from_ns < AT_ONCE_NS);
}

void pool_answered(struct pool_thread *thread)
{
    thread->since_ns = 0;
}

void pool_yield(void)
{
    if (current)
        give(current);
}
