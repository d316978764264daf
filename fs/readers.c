/*
 * A table of CONTROL_READERS_MAX entries in hash chains, and beside it what was last seen of each
 * of the worker's slots. The worker is not trusted: its numbers are only ever copied or compared.
 */
#include "readers.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NONE CONTROL_READERS_MAX
#define TAKE_MS 100        /* between two times of taking what is not new */
#define SWEEP_MS 1000      /* between two looks at who has ended */
#define LOOKS_PER_TAKE 256 /* at new processes, about 50 us each; the others have to wait */
#define TOKENS 32          /* times in a row that the worker may wake us at once, */
#define TOKEN_MS 10        /* and how long each takes to come back */

/* What is known of a slot of the worker's. */
struct taken {
    uint32_t stamp;
    uint32_t count;
    uint64_t thread_start;
    unsigned entry; /* or NONE */
};

struct readers {
    struct control_readers head;
    unsigned first[CONTROL_READERS_MAX]; /* of each chain, or NONE */
    unsigned next[CONTROL_READERS_MAX];
    bool ended[CONTROL_READERS_MAX];      /* as far as known */
    int64_t last_ns[CONTROL_READERS_MAX]; /* as in the entries, but close together */
    struct taken taken[OPENS_SLOTS];
    uint64_t noted;  /* opens->noted when all of it was last taken */
    bool behind;     /* it was not quite all */
    unsigned cursor; /* the slot to begin with */
    int64_t taken_ms;
    int64_t swept_ms;
    unsigned tokens;
    int64_t token_ms;
    struct control_reader entries[CONTROL_READERS_MAX];
};

struct readers *readers_new(void)
{
    struct readers *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->head.since_ns = clock_ns(CLOCK_REALTIME);
    r->head.reader_bytes = sizeof(struct control_reader);
    r->tokens = TOKENS;
    for (unsigned i = 0; i < CONTROL_READERS_MAX; i++)
        r->first[i] = NONE;
    for (unsigned i = 0; i < OPENS_SLOTS; i++)
        r->taken[i].entry = NONE;
    return r;
}

void readers_free(struct readers *readers)
{
    free(readers);
}

/* ---- The table ----------------------------------------------------------- */

static unsigned *chain_of(struct readers *r, const struct control_reader *key)
{
    uint64_t hash = (key->version * 0x9e3779b97f4a7c15U) ^ (key->who.pid * 0xc2b2ae3d27d4eb4fU) ^
                    (key->who.start * 0x165667b19e3779f9U) ^ key->uid;
    return &r->first[((hash ^ (hash >> 32)) * 0xd6e8feb86659fd93U >> 32) % CONTROL_READERS_MAX];
}

static bool is_same(const struct control_reader *a, const struct control_reader *b)
{
    return a->version == b->version && a->uid == b->uid && a->known == b->known &&
           a->who.pid == b->who.pid && a->who.start == b->who.start;
}

static unsigned find(struct readers *r, const struct control_reader *key)
{
    unsigned i = *chain_of(r, key);

    while (i != NONE && !is_same(&r->entries[i], key))
        i = r->next[i];
    return i;
}

/* Note who has ended; who has is given up before others. */
static void sweep(struct readers *r)
{
    int64_t now = clock_now_ms();

    if (r->swept_ms && now - r->swept_ms < SWEEP_MS)
        return;
    for (unsigned i = 0; i < r->head.count; i++) {
        const struct control_reader *entry = &r->entries[i];
        r->ended[i] = !entry->known || !identity_lives(entry->who.pid, entry->who.start);
    }
    r->swept_ms = clock_now_ms();
}

/* The entry to give up: who has ended, and of those who read longest ago. */
static unsigned find_oldest(const struct readers *r, bool *ret_ended)
{
    unsigned oldest = 0;

    for (unsigned i = 1; i < r->head.count; i++)
        if (r->ended[i] != r->ended[oldest] ? r->ended[i] : r->last_ns[i] < r->last_ns[oldest])
            oldest = i;
    *ret_ended = r->ended[oldest];
    return oldest;
}

static unsigned give_one_up(struct readers *r)
{
    bool ended;
    unsigned i = find_oldest(r, &ended);

    if (!ended) {
        sweep(r);
        i = find_oldest(r, &ended);
    }
    if (ended)
        r->head.forgotten++;
    else
        r->head.missed++;
    unsigned *link = chain_of(r, &r->entries[i]);
    while (*link != i)
        link = &r->next[*link];
    *link = r->next[i];
    for (unsigned slot = 0; slot < OPENS_SLOTS; slot++)
        if (r->taken[slot].entry == i)
            r->taken[slot].entry = NONE;
    return i;
}

static unsigned add(struct readers *r, const struct control_reader *key)
{
    unsigned i = r->head.count < CONTROL_READERS_MAX ? r->head.count++ : give_one_up(r);
    unsigned *chain = chain_of(r, key);

    r->entries[i] = *key;
    r->entries[i].count = 0;
    r->ended[i] = !key->known;
    r->last_ns[i] = 0;
    r->next[i] = *chain;
    *chain = i;
    return i;
}

/* ---- Taking -------------------------------------------------------------- */

/* Whether a process that began then may have been the one that opened at `opened_ns`. The clock of
 * ticks is coarse. */
static bool began_before(uint64_t start, int64_t opened_ns)
{
    int64_t tick_ns = 1000000000LL / sysconf(_SC_CLK_TCK);
    int64_t age_ns = clock_ns(CLOCK_BOOTTIME) - (int64_t)start * tick_ns;
    return age_ns + 2 * tick_ns >= clock_ns(CLOCK_REALTIME) - opened_ns;
}

/* The entry for what was noted by somebody who isn't known yet. */
static unsigned identify(struct readers *r, const struct open_note *note, struct taken *taken)
{
    struct control_reader key = {
        .version = note->version, .uid = note->user, .first_ns = note->first_ns};

    key.known =
        identity_of(note->thread, &key.who) && began_before(key.who.thread_start, note->last_ns);
    taken->thread_start = key.known ? key.who.thread_start : 0;
    if (!key.known)
        key.who = (struct identity){.pid = note->thread};
    unsigned i = find(r, &key);
    return i != NONE ? i : add(r, &key);
}

/* Whether whoever has the thread's number now is no other than before; who has ended isn't. */
static bool is_still(const struct open_note *note, const struct taken *taken)
{
    uint64_t start = taken->thread_start ? identity_thread_start(note->thread) : 0;
    return start == taken->thread_start || start == 0;
}

/* Take what is new in slot `i`. Returns how many processes were looked at. */
static unsigned take_slot(struct readers *r, struct opens *opens, unsigned i)
{
    struct taken *taken = &r->taken[i];
    struct open_note note;
    unsigned looks = 0;

    if (!opens_look(opens, i, &note))
        return 0;
    bool same = note.stamp == taken->stamp && taken->entry != NONE;
    uint32_t more = note.stamp == taken->stamp ? note.count - taken->count : note.count;
    if (more == 0)
        return 0;
    if (!same || !is_still(&note, taken)) {
        taken->entry = identify(r, &note, taken);
        looks = 1;
    }
    struct control_reader *entry = &r->entries[taken->entry];
    entry->count += more;
    if (note.last_ns > entry->last_ns)
        entry->last_ns = r->last_ns[taken->entry] = note.last_ns;
    taken->stamp = note.stamp;
    taken->count = note.count;
    opens_take(opens, i, &note);
    return looks;
}

static void take(struct readers *r, struct opens *opens, unsigned looks_max)
{
    uint64_t noted = opens->noted;
    unsigned looks = 0;
    unsigned done = 0;

    for (; done < OPENS_SLOTS && looks < looks_max; done++)
        looks += take_slot(r, opens, (r->cursor + done) % OPENS_SLOTS);
    r->cursor = (r->cursor + done) % OPENS_SLOTS;
    r->behind = done < OPENS_SLOTS;
    r->noted = noted;
    r->taken_ms = clock_now_ms();
}

/* Whether the worker may wake us once more. */
static bool take_token(struct readers *r)
{
    int64_t now = clock_now_ms();
    int64_t more = (now - r->token_ms) / TOKEN_MS;

    if (more > 0) {
        r->tokens = more + r->tokens > TOKENS ? TOKENS : r->tokens + (unsigned)more;
        r->token_ms = now;
    }
    if (r->tokens == 0)
        return false;
    r->tokens--;
    return true;
}

bool readers_tend(struct readers *r, struct opens *opens)
{
    /* Cleared before looking: who comes while we look wakes us again. */
    bool is_new = opens->pending && take_token(r) && atomic_exchange(&opens->pending, false);
    bool is_left = opens->noted != r->noted || r->behind;

    if (is_new || (is_left && clock_now_ms() - r->taken_ms >= TAKE_MS)) {
        take(r, opens, LOOKS_PER_TAKE);
        is_left = r->behind;
    }
    return is_left;
}

void readers_take(struct readers *r, struct opens *opens)
{
    take(r, opens, OPENS_SLOTS + 1);
}

/* ---- Telling ------------------------------------------------------------- */

static bool write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

int readers_file(const struct readers *r, const struct opens *opens, uint64_t device)
{
    int fd = memfd_create("secretfs-readers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct control_readers head = r->head;

    head.device = device;
    head.missed += opens->lost;
    if (fd >= 0 && write_all(fd, &head, sizeof head) &&
        write_all(fd, r->entries, head.count * sizeof *r->entries) &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}
