/*
 * The secrets that expire, in one array: first a heap of those whose expiry is still to be noted,
 * the earliest on top, then the others. Each node knows its place, so that it can be taken out.
 */
#include "index_state.h"

static void set_place(struct index *index, uint32_t place, struct expiry e)
{
    index->expiries[place] = e;
    index->nodes[e.node].secret.expiry = place;
}

/* Put `e` where it belongs, given that the heap is in order but for the hole at `place`. */
static void fill_hole(struct index *index, uint32_t place, struct expiry e)
{
    const struct expiry *heap = index->expiries;

    while (place > 1 && heap[place / 2].when_ns > e.when_ns) {
        set_place(index, place, heap[place / 2]);
        place /= 2;
    }
    for (;;) {
        uint32_t child = 2 * place;
        if (child < index->expiries_due && heap[child + 1].when_ns < heap[child].when_ns)
            child++;
        if (child > index->expiries_due || heap[child].when_ns >= e.when_ns)
            break;
        set_place(index, place, heap[child]);
        place = child;
    }
    set_place(index, place, e);
}

/* Close the gap at `place` of the heap; the place behind the heap is free then. */
static void take_out(struct index *index, uint32_t place)
{
    struct expiry last = index->expiries[index->expiries_due--];
    if (place <= index->expiries_due)
        fill_hole(index, place, last);
}

void index_remove_expiry(struct index *index, uint32_t slot)
{
    uint32_t place = index->nodes[slot].secret.expiry;

    if (place == 0)
        return;
    if (place <= index->expiries_due) {
        take_out(index, place);
        place = index->expiries_due + 1;
    }
    if (place < index->expiries_count)
        set_place(index, place, index->expiries[index->expiries_count]);
    index->expiries_count--;
    index->nodes[slot].secret.expiry = 0;
}

enum store_err index_set_expiry(struct index *index, uint32_t slot, int64_t when_ns)
{
    uint32_t place = index->nodes[slot].secret.expiry;

    if (place ? index->expiries[place].when_ns == when_ns : when_ns == 0)
        return STORE_OK;
    index_remove_expiry(index, slot);
    if (when_ns == 0)
        return STORE_OK;
    enum store_err err =
        index_reserve(&index->expiries, &index->expiries_capacity,
                      (uint64_t)index->expiries_count + 1, sizeof *index->expiries);
    if (err)
        return err;
    /* The first behind the heap makes room for its growth. */
    place = ++index->expiries_due;
    if (place <= index->expiries_count)
        set_place(index, index->expiries_count + 1, index->expiries[place]);
    index->expiries_count++;
    fill_hole(index, place, (struct expiry){when_ns, slot});
    return STORE_OK;
}

int64_t index_expires(const struct index *index, const struct index_node *node)
{
    uint32_t place = node->kind == STORE_SECRET ? node->secret.expiry : 0;
    return place ? index->expiries[place].when_ns : 0;
}

const struct index_node *index_next_to_expire(const struct index *index, int64_t *ret_expires_ns)
{
    bool any = index->expiries_due > 0;
    *ret_expires_ns = any ? index->expiries[1].when_ns : INT64_MAX;
    return any ? &index->nodes[index->expiries[1].node] : NULL;
}

void index_note_expired(struct index *index)
{
    struct expiry first = index->expiries[1];
    take_out(index, 1);
    set_place(index, index->expiries_due + 1, first);
}

void index_expire_again(struct index *index)
{
    while (index->expiries_due < index->expiries_count) {
        uint32_t place = ++index->expiries_due;
        fill_hole(index, place, index->expiries[place]);
    }
}
