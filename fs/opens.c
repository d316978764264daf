/*
 * A table of sets, each of OPENS_WAYS slots, in which a key has its place by a hash. Slots are
 * filled under a sequence counter (as in Documentation/locking/seqlock.rst): a reader that saw it
 * odd, or changed, has seen nothing.
 */
#include "opens.h"
#include "clock.h"
#include "handoff.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>

/* Between the threads of a worker; gone with it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mark(uint32_t stamp, uint32_t count)
{
    return (uint64_t)stamp << 32 | count;
}

static struct open_slot *set_of(struct opens *opens, uint32_t thread, uint32_t user,
                                uint64_t version)
{
    uint64_t hash = (version * 0x9e3779b97f4a7c15U) ^ (thread * 0xc2b2ae3d27d4eb4fU) ^
                    ((uint64_t)user * 0x165667b19e3779f9U);

    hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93U;
    return &opens->slots[(hash >> 32) % (OPENS_SLOTS / OPENS_WAYS) * OPENS_WAYS];
}

static bool is_free(const struct open_slot *slot)
{
    return slot->version == 0 || slot->stamp % 2 != 0;
}

static bool is_taken(const struct open_slot *slot)
{
    return is_free(slot) || slot->taken == mark(slot->stamp, slot->count);
}

/* Whether `a` is a better one to give up than `b`. */
static bool goes_before(const struct open_slot *a, const struct open_slot *b)
{
    if (is_free(a) != is_free(b))
        return is_free(a);
    if (is_taken(a) != is_taken(b))
        return is_taken(a);
    return a->last_ns < b->last_ns;
}

static void fill(struct opens *opens, struct open_slot *slot, uint32_t thread, uint32_t user,
                 uint64_t version, int64_t now_ns)
{
    if (!is_taken(slot))
        opens->lost +=
            slot->taken >> 32 == slot->stamp ? slot->count - (uint32_t)slot->taken : slot->count;
    uint32_t stamp = (slot->stamp + 1) | 1;
    slot->stamp = stamp;
    slot->thread = thread;
    slot->user = user;
    slot->version = version;
    slot->first_ns = slot->last_ns = now_ns;
    slot->count = 1;
    slot->stamp = stamp + 1;
}

/* True if it is somebody new. */
static bool note(struct opens *opens, uint32_t thread, uint32_t user, uint64_t version,
                 int64_t now_ns)
{
    struct open_slot *set = set_of(opens, thread, user, version);
    struct open_slot *worst = set;

    opens->noted++;
    for (struct open_slot *slot = set; slot < set + OPENS_WAYS; slot++) {
        if (slot->version == version && slot->thread == thread && slot->user == user &&
            slot->stamp % 2 == 0) {
            slot->last_ns = now_ns;
            slot->count++;
            return false;
        }
        if (goes_before(slot, worst))
            worst = slot;
    }
    fill(opens, worst, thread, user, version, now_ns);
    return true;
}

void opens_note(struct opens *opens, int socket, uint32_t thread, uint32_t user, uint64_t version)
{
    const char word = HANDOFF_OPENED;
    int64_t now_ns = clock_ns(CLOCK_REALTIME);

    pthread_mutex_lock(&lock);
    bool is_new = note(opens, thread, user, version, now_ns);
    pthread_mutex_unlock(&lock);
    if (is_new && !atomic_exchange(&opens->pending, true))
        send(socket, &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool opens_look(const struct opens *opens, unsigned i, struct open_note *ret_note)
{
    const struct open_slot *slot = &opens->slots[i];
    struct open_note seen = {.stamp = slot->stamp};

    if (seen.stamp % 2 != 0 || slot->version == 0)
        return false;
    seen.thread = slot->thread;
    seen.user = slot->user;
    seen.version = slot->version;
    seen.count = slot->count;
    seen.first_ns = slot->first_ns;
    seen.last_ns = slot->last_ns;
    if (slot->stamp != seen.stamp)
        return false;
    *ret_note = seen;
    return true;
}

void opens_take(struct opens *opens, unsigned i, const struct open_note *note)
{
    opens->slots[i].taken = mark(note->stamp, note->count);
}
