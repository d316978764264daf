/*
 * What an anchor means to a store: which states it refuses, and when it moves on.
 *
 * The anchor follows what is durable, never the other way round: a writer that is killed after its
 * commit leaves the store ahead, which is a state like any later one. It never goes back. Lock
 * order: the anchor's file is locked last, and never while the store's lock is held.
 */
#include "anchor.h"
#include "anchor_slots.h"
#include "clock.h"
#include "fault.h"
#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 2000 /* for other writers, who are at it for one write */
#define SECOND_NS 1000000000
#define TIME_TEXT 24

void anchor_use(struct store *store, const struct anchor_file *file, bool check)
{
    if (store->anchor.fd >= 0)
        close(store->anchor.fd);
    store->anchor = *file;
    store->anchored = check;
    /* A lock stays with a descriptor that a killed process shared with its parent. */
    if (file->fd >= 0)
        anchor_slots_unlock(file->fd);
}

static struct root_record root_of(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    struct root_record root = store->root;
    pthread_rwlock_unlock(&store->lock);
    return root;
}

static void slot_of(const struct seal_keys *keys, const struct root_record *root,
                    struct anchor_slot *ret_slot)
{
    unsigned char record[RECORD_ROOT_MAX];
    size_t len = record_encode_root(root, record);

    ret_slot->generation = root->generation;
    ret_slot->next_id = root->next_id;
    ret_slot->seen_ns = clock_ns(CLOCK_REALTIME);
    seal_root_hash(keys, record, len, ret_slot->root_hash);
}

/* ---- Comparing ----------------------------------------------------------- */

static enum anchor_verdict judge(const struct anchor_slot *seen, const struct anchor_slot *found)
{
    if (found->generation != seen->generation)
        return found->generation > seen->generation ? ANCHOR_NEWER : ANCHOR_OLDER;
    return memcmp(found->root_hash, seen->root_hash, sizeof seen->root_hash) == 0 ? ANCHOR_SAME
                                                                                  : ANCHOR_FORKED;
}

static enum store_err read_anchor(const struct store *store, struct anchor_seen *ret_seen)
{
    *ret_seen = (struct anchor_seen){.content = ANCHOR_EMPTY, .number = 1};
    if (store->anchor.fd < 0)
        return STORE_OK;
    return anchor_slots_read(store->anchor.fd, &store->keys, &ret_seen->content, &ret_seen->slot,
                             &ret_seen->number);
}

static enum anchor_verdict compare(const struct anchor_seen *seen, const struct anchor_slot *found)
{
    switch (seen->content) {
    case ANCHOR_EMPTY:
        return ANCHOR_NONE;
    case ANCHOR_READ:
        return judge(&seen->slot, found);
    case ANCHOR_BROKEN:
        break;
    }
    return ANCHOR_DAMAGED;
}

static enum store_err refuse(const char *object, const char *reason)
{
    return fault(STORE_ERR_ANCHOR, "verify", object, reason);
}

static enum store_err refuse_state(enum anchor_verdict verdict, const struct anchor_slot *found,
                                   const struct anchor_slot *seen)
{
    char object[96];
    char when[TIME_TEXT] = "";
    struct tm tm;
    time_t time = (time_t)(seen->seen_ns / SECOND_NS);

    if (gmtime_r(&time, &tm))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (verdict == ANCHOR_OLDER)
        snprintf(object, sizeof object, "generation %llu, %llu behind the one seen at %s",
                 (unsigned long long)found->generation,
                 (unsigned long long)(seen->generation - found->generation), when);
    else
        snprintf(object, sizeof object, "generation %llu, another one than was seen at %s",
                 (unsigned long long)found->generation, when);
    return refuse(object, verdict == ANCHOR_OLDER ? "an older state was put in its place"
                                                  : "a state of another copy was put in its place");
}

enum store_err anchor_look(struct store *store)
{
    return read_anchor(store, &store->seen);
}

enum store_err anchor_check(const struct store *store, const struct root_record *root)
{
    struct anchor_slot found;

    if (!store->anchored)
        return STORE_OK;
    slot_of(&store->keys, root, &found);
    enum anchor_verdict verdict = compare(&store->seen, &found);
    switch (verdict) {
    case ANCHOR_NONE:
    case ANCHOR_SAME:
    case ANCHOR_NEWER:
        return STORE_OK;
    case ANCHOR_OLDER:
    case ANCHOR_FORKED:
        return refuse_state(verdict, &found, &store->seen.slot);
    case ANCHOR_DAMAGED:
        break;
    }
    return refuse("the anchor",
                  anchor_slots_name(store->anchor.fd, store->uuid)
                      ? "its seal does not open: the store was rekeyed since, or it is damaged"
                      : "it is damaged, or not of this store");
}

void anchor_compare(struct store *store, struct anchor_state *ret_state)
{
    struct root_record root = root_of(store);
    struct anchor_slot found;

    slot_of(&store->keys, &root, &found);
    *ret_state = (struct anchor_state){compare(&store->seen, &found), store->seen.slot.generation,
                                       store->seen.slot.seen_ns};
}

/* ---- Advancing ----------------------------------------------------------- */

static enum store_err advance_locked(struct store *store, const struct anchor_slot *found,
                                     bool durable)
{
    struct anchor_seen seen;
    enum store_err err = read_anchor(store, &seen);
    if (err)
        return err;
    switch (compare(&seen, found)) {
    case ANCHOR_SAME:
    case ANCHOR_OLDER:
        return STORE_OK;
    case ANCHOR_FORKED:
    case ANCHOR_DAMAGED:
        return refuse("the anchor", "it is damaged, or of another state");
    case ANCHOR_NONE:
    case ANCHOR_NEWER:
        break;
    }
    if (!durable)
        err = db_sync_log(store->db);
    return err ? err : anchor_slots_write(store->anchor.fd, &store->keys, 1 - seen.number, found);
}

/* in: durable  the state is a commit of ours */
static enum store_err advance(struct store *store, unsigned wait_ms, bool durable)
{
    struct root_record root = root_of(store);
    struct anchor_slot found;

    if (!store->anchor.writable)
        return fault(STORE_ERR_DENIED, "write", "the anchor", NULL);
    slot_of(&store->keys, &root, &found);
    enum store_err err = anchor_slots_lock(store->anchor.fd, wait_ms);
    if (err)
        return err;
    err = advance_locked(store, &found, durable);
    anchor_slots_unlock(store->anchor.fd);
    return err;
}

enum store_err anchor_advance(struct store *store, unsigned wait_ms)
{
    struct root_record root = root_of(store);
    struct anchor_seen seen;
    struct anchor_slot found;
    enum store_err err = read_anchor(store, &seen);

    if (err)
        return err;
    slot_of(&store->keys, &root, &found);
    enum anchor_verdict verdict = compare(&seen, &found);
    if (verdict == ANCHOR_SAME || verdict == ANCHOR_OLDER)
        return STORE_OK;
    return advance(store, wait_ms, false);
}

void anchor_loaded(struct store *store)
{
    if (store->anchored && !store->follows && store->anchor.writable &&
        anchor_advance(store, WAIT_MS) != STORE_OK)
        store->anchor_late = true;
}

void anchor_committed(struct store *store)
{
    if (store->anchored && advance(store, WAIT_MS, true) != STORE_OK)
        store->anchor_late = true;
}

/* The later slot of the old keys stays, in case that the rekey is not committed. */
static enum store_err prepare_locked(struct store *store, const struct seal_keys *new_keys)
{
    struct anchor_seen seen;
    struct anchor_slot found;

    slot_of(&store->keys, &store->root, &found);
    enum store_err err = advance_locked(store, &found, false);
    if (!err)
        err = read_anchor(store, &seen);
    if (err)
        return err;
    slot_of(new_keys, &store->root, &found);
    return anchor_slots_write(store->anchor.fd, new_keys, 1 - seen.number, &found);
}

enum store_err anchor_prepare_rekey(struct store *store, const struct seal_keys *new_keys)
{
    if (!store->anchored || store->anchor.fd < 0)
        return STORE_OK;
    if (!store->anchor.writable)
        return fault(STORE_ERR_DENIED, "write", "the anchor", NULL);
    enum store_err err = anchor_slots_lock(store->anchor.fd, WAIT_MS);
    if (err)
        return err;
    err = prepare_locked(store, new_keys);
    anchor_slots_unlock(store->anchor.fd);
    return err;
}

bool anchor_is_late(const struct store *store)
{
    return store->anchor_late;
}

/* ---- Accepting ----------------------------------------------------------- */

/* The commit that tells of it; the store is between store_begin() and here. */
static enum store_err commit_acceptance(struct store *store, const struct anchor_slot *seen)
{
    struct root_record *to = &store->to;

    if (seen->generation >= to->generation)
        to->generation = seen->generation + 1;
    if (seen->next_id > to->next_id)
        to->next_id = seen->next_id;
    to->accepted = (struct anchor_acceptance){
        .generation = to->generation,
        .accepted = store->root.generation,
        .seen = seen->generation,
        .time_ns = store->now_ns,
    };
    store->changed = true;
    audit_note(store, AUDIT_ANCHOR, NULL, 0,
               "generation %" PRIu64 " accepted, in place of %" PRIu64, to->accepted.accepted,
               to->accepted.seen);
    return store_commit(store);
}

static enum store_err accept_locked(struct store *store, struct anchor_state *ret_state)
{
    struct anchor_slot found;
    struct anchor_seen seen;
    enum store_err err = read_anchor(store, &seen);

    if (err)
        return err;
    slot_of(&store->keys, &store->root, &found);
    *ret_state =
        (struct anchor_state){compare(&seen, &found), seen.slot.generation, seen.slot.seen_ns};
    switch (ret_state->verdict) {
    case ANCHOR_SAME:
        return STORE_OK;
    case ANCHOR_NONE:
    case ANCHOR_NEWER:
        return advance_locked(store, &found, false);
    case ANCHOR_OLDER:
    case ANCHOR_FORKED:
    case ANCHOR_DAMAGED:
        break;
    }
    err = commit_acceptance(store, &seen.slot);
    if (err)
        return err;
    slot_of(&store->keys, &store->root, &found);
    return anchor_slots_write(store->anchor.fd, &store->keys, 1 - seen.number, &found);
}

enum store_err anchor_accept(struct store *store, struct anchor_state *ret_state)
{
    if (!store->anchor.writable)
        return fault(STORE_ERR_DENIED, "write", "the anchor", NULL);
    store->anchored = false;
    enum store_err err = store_begin(store);
    if (err)
        return err;
    err = anchor_slots_lock(store->anchor.fd, WAIT_MS);
    if (!err) {
        err = accept_locked(store, ret_state);
        anchor_slots_unlock(store->anchor.fd);
    }
    store_rollback(store);
    store->anchored = true;
    return err;
}

struct anchor_acceptance anchor_accepted(struct store *store)
{
    return root_of(store).accepted;
}
