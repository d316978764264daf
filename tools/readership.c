/*
 * See readership.h. Daemons know processes by their pid and the time that they began, which is the
 * same for all of them, so that one who reads two mounts is found to be one.
 */
#include "readership.h"

#include "auto.h"
#include "grow.h"
#include "holders.h"

#include <stdlib.h>
#include <string.h>

void readership_release(struct readership *readership)
{
    free(readership->items);
    free(readership->devices);
    *readership = (struct readership){.details = readership->details};
}

static bool is_same_process(const struct control_reader *a, const struct control_reader *b)
{
    return a->known == b->known && a->who.pid == b->who.pid && a->who.start == b->who.start;
}

static struct reader *append(struct readership *r, const struct store_version *version,
                             const struct control_reader *seen)
{
    struct reader *items = grow(r->items, r->count, &r->capacity, sizeof *items);
    if (items == NULL)
        return NULL;
    r->items = items;
    struct reader *reader = &r->items[r->count++];
    *reader = (struct reader){.version = version, .seen = *seen};
    return reader;
}

/* ---- What the daemons have recorded -------------------------------------- */

static enum store_err add_reader(struct readership *r, const struct control_reader *seen,
                                 size_t others)
{
    const struct store_version *version = store_version_of(r->details, seen->version);

    if (version == NULL)
        return STORE_OK; /* another secret's, or one that is not kept */
    for (size_t i = 0; i < others; i++) {
        struct control_reader *same = &r->items[i].seen;
        if (same->version != seen->version || same->uid != seen->uid ||
            !is_same_process(same, seen))
            continue;
        same->count += seen->count;
        same->first_ns = seen->first_ns < same->first_ns ? seen->first_ns : same->first_ns;
        same->last_ns = seen->last_ns > same->last_ns ? seen->last_ns : same->last_ns;
        return STORE_OK;
    }
    struct reader *reader = append(r, version, seen);
    if (reader == NULL)
        return STORE_ERR_NO_MEMORY;
    struct identity *who = &reader->seen.who;
    who->command[sizeof who->command - 1] = '\0';
    who->executable[sizeof who->executable - 1] = '\0';
    who->unit[sizeof who->unit - 1] = '\0';
    who->container[sizeof who->container - 1] = '\0';
    return STORE_OK;
}

enum store_err readership_add(struct readership *r, const struct control_readers *head,
                              const struct control_reader *readers)
{
    uint64_t *devices = reallocarray(r->devices, r->device_count + 1, sizeof *devices);
    enum store_err err = STORE_OK;
    size_t others = r->count;

    if (devices == NULL)
        return STORE_ERR_NO_MEMORY;
    r->devices = devices;
    r->devices[r->device_count++] = head->device;
    r->since_ns = head->since_ns > r->since_ns ? head->since_ns : r->since_ns;
    r->forgotten += head->forgotten;
    r->missed += head->missed;
    for (uint32_t i = 0; !err && i < head->count; i++)
        err = add_reader(r, &readers[i], others);
    return err;
}

/* ---- What the processes hold --------------------------------------------- */

static enum store_err add_holder(struct readership *r, const struct holder *holder)
{
    const struct control_reader as_reader = {
        .version = holder->version, .uid = holder->who.uid, .known = 1, .who = holder->who};
    const struct store_version *version = store_version_of(r->details, holder->version);
    bool found = version == NULL;

    for (size_t i = 0; i < r->count; i++) {
        struct reader *reader = &r->items[i];
        if (reader->version->id != holder->version || !is_same_process(&reader->seen, &as_reader))
            continue;
        reader->open = holder->open;
        reader->mapped = holder->mapped;
        found = true;
    }
    if (found)
        return STORE_OK;
    struct reader *reader = append(r, version, &as_reader);
    if (reader == NULL)
        return STORE_ERR_NO_MEMORY;
    reader->open = holder->open;
    reader->mapped = holder->mapped;
    return STORE_OK;
}

static enum store_err add_holders(struct readership *r)
{
    struct holders holders = HOLDERS_INIT;
    AUTO_FREE uint64_t *versions = calloc(STORE_VERSIONS_KEPT, sizeof *versions);
    const struct holders_wanted wanted = {versions, r->details->version_count, r->devices,
                                          r->device_count};

    if (versions == NULL)
        return STORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < r->details->version_count; i++)
        versions[i] = r->details->versions[i].id;
    enum store_err err = holders_find(&wanted, &holders);
    for (size_t i = 0; !err && i < holders.count; i++)
        err = add_holder(r, &holders.items[i]);
    r->unseen = holders.unseen;
    holders_release(&holders);
    return err;
}

/* ---- The whole ----------------------------------------------------------- */

/* Who runs is told as it is now: it may have become another program since, and a daemon without the
 * right to look at executables leaves that to us. */
static void look_again(struct reader *reader)
{
    struct control_reader *seen = &reader->seen;
    struct identity now;

    reader->lives = seen->known && identity_lives(seen->who.pid, seen->who.start);
    if (reader->lives && identity_of(seen->who.pid, &now) && now.start == seen->who.start &&
        now.executable[0])
        seen->who = now;
}

/* Whether the process has opened something after that. */
static bool has_opened_later(const struct readership *r, const struct reader *reader)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].seen.last_ns > reader->seen.last_ns &&
            is_same_process(&r->items[i].seen, &reader->seen))
            return true;
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct reader *one = a;
    const struct reader *other = b;

    if (one->version->number != other->version->number)
        return one->version->number > other->version->number ? -1 : 1;
    if (one->seen.last_ns != other->seen.last_ns)
        return one->seen.last_ns > other->seen.last_ns ? -1 : 1;
    return 0;
}

enum store_err readership_complete(struct readership *r)
{
    enum store_err err = r->device_count ? add_holders(r) : STORE_OK;

    for (size_t i = 0; i < r->count; i++)
        look_again(&r->items[i]);
    for (size_t i = 0; i < r->count; i++) {
        struct reader *reader = &r->items[i];
        reader->behind = reader->lives && reader->seen.count &&
                         reader->version->id != r->details->current && !has_opened_later(r, reader);
    }
    if (r->count)
        qsort(r->items, r->count, sizeof *r->items, compare);
    return err;
}

bool reader_holds_older(const struct readership *readership, const struct reader *reader)
{
    return (reader->open || reader->mapped) && reader->version->id != readership->details->current;
}
