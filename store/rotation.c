/*
 * Setting how a secret is rotated. The store keeps it and does nothing by it.
 */
#include "change.h"
#include "fault.h"
#include "write.h"

#include <inttypes.h>
#include <string.h>

static bool same_rotation(const struct store_rotation *a, const struct store_rotation *b)
{
    return a->every_s == b->every_s && strcmp(a->generator, b->generator) == 0 &&
           strcmp(a->rotator, b->rotator) == 0 && a->timeout_s == b->timeout_s &&
           a->step == b->step && a->old_number == b->old_number && a->new_number == b->new_number;
}

static enum store_err check_limits(const struct store_rotation *rotation)
{
    if (rotation->every_s > STORE_ROTATION_MAX_S)
        return fault(STORE_ERR_LIMIT, "set", "the rotation", "ten years are the longest");
    if (rotation->timeout_s > STORE_STEP_TIMEOUT_MAX_S)
        return fault(STORE_ERR_LIMIT, "set", "the rotation",
                     "a day is the longest a step may take");
    if (memchr(rotation->generator, '\0', sizeof rotation->generator) == NULL)
        return fault(STORE_ERR_LIMIT, "set", "the generator", "it is longer than 64 bytes");
    if (memchr(rotation->rotator, '\0', sizeof rotation->rotator) == NULL)
        return fault(STORE_ERR_LIMIT, "set", "the rotator", "it is longer than 64 bytes");
    return STORE_OK;
}

/* A step of a rotator is part of a rotation, all else how there is to be one. */
static void note(struct store *store, const char *path, const struct store_rotation *from,
                 const struct store_rotation *to)
{
    struct store_rotation next = *from;

    next.step = to->step;
    next.old_number = to->old_number;
    next.new_number = to->new_number;
    if (same_rotation(&next, to))
        audit_note(store, AUDIT_ROTATE, path, to->new_number,
                   to->step ? "rotator %s, step %d" : NULL, to->rotator, (int)to->step);
    else
        audit_note(store, AUDIT_SCHEDULE, path, 0, "every %" PRIu64 " s%s%s", to->every_s,
                   to->rotator[0] ? ", rotator " : "", to->rotator);
}

enum store_err store_set_rotation(struct store *store, const char *path,
                                  const struct store_rotation *rotation)
{
    struct node_record record;
    enum store_err err = check_limits(rotation);

    if (!err)
        err = change_find_secret(store, path, &record);
    if (err || same_rotation(&record.details.rotation, rotation))
        return err;
    if (!record_rotation_valid(rotation, record.details.next_number))
        return fault(STORE_ERR_INVALID, "set", "the rotation",
                     "its names must be UTF-8 without control characters, and a step a rotator's");
    note(store, path, &record.details.rotation, rotation);
    record.details.rotation = *rotation;
    record.changed_ns = store->now_ns;
    return write_node(store, &record);
}
