/*
 * How a secret is rotated, in its record: fields 40 to 44 of a node. FORMAT.md, "Node record".
 */
#include "bytes.h"
#include "fields.h"
#include "record.h"

#define STEP_BYTES 9 /* u8 step, u32 old number, u32 new number */

enum rotation_field {
    ROTATION_EVERY = 40,
    ROTATION_GENERATOR,
    ROTATION_ROTATOR,
    ROTATION_STEP,
    ROTATION_TIMEOUT,
};

static bool generator_valid(const char generator[STORE_GENERATOR_MAX + 1])
{
    size_t len = strnlen(generator, STORE_GENERATOR_MAX + 1);
    return len <= STORE_GENERATOR_MAX && record_text_valid(generator, len);
}

/* The name of a file, or none. */
static bool rotator_valid(const char rotator[STORE_ROTATOR_MAX + 1])
{
    size_t len = strnlen(rotator, STORE_ROTATOR_MAX + 1);
    return len <= STORE_ROTATOR_MAX && (len == 0 || record_name_valid(rotator, len, false));
}

/* A step is a rotator's, and of versions that there have been. */
static bool step_valid(const struct store_rotation *rotation, uint32_t next_number)
{
    uint32_t old = rotation->old_number;
    uint32_t new = rotation->new_number;

    switch (rotation->step) {
    case STORE_STEP_NONE:
        return old == 0 && new == 0;
    case STORE_STEP_CREATE:
        return rotation->rotator[0] && old > 0 && old < next_number && new == 0;
    case STORE_STEP_SET:
    case STORE_STEP_TEST:
    case STORE_STEP_FINISH:
        return rotation->rotator[0] && old > 0 && old < new &&new < next_number;
    }
    return false;
}

bool record_rotation_valid(const struct store_rotation *rotation, uint32_t next_number)
{
    return rotation->every_s <= STORE_ROTATION_MAX_S &&
           rotation->timeout_s <= STORE_STEP_TIMEOUT_MAX_S &&
           generator_valid(rotation->generator) && rotator_valid(rotation->rotator) &&
           step_valid(rotation, next_number);
}

unsigned char *record_put_rotation(unsigned char *at, const struct store_rotation *rotation)
{
    unsigned char step[STEP_BYTES];

    if (rotation->every_s)
        at = put_number(at, ROTATION_EVERY, rotation->every_s, 8);
    if (rotation->generator[0])
        at = put_bytes(at, ROTATION_GENERATOR, rotation->generator, strlen(rotation->generator));
    if (rotation->rotator[0])
        at = put_bytes(at, ROTATION_ROTATOR, rotation->rotator, strlen(rotation->rotator));
    if (rotation->step != STORE_STEP_NONE) {
        step[0] = (unsigned char)rotation->step;
        put_le(step + 1, rotation->old_number, 4);
        put_le(step + 5, rotation->new_number, 4);
        at = put_bytes(at, ROTATION_STEP, step, sizeof step);
    }
    if (rotation->timeout_s)
        at = put_number(at, ROTATION_TIMEOUT, rotation->timeout_s, 4);
    return at;
}

/* Text that is there must not be empty, nor go on behind a NUL. */
static void take_text(struct reader *r, unsigned tag, char *text, size_t max)
{
    size_t len;

    if (take_optional(r, tag, text, max, &len) && (len == 0 || strnlen(text, len) != len))
        r->bad = true;
}

static void take_step(struct reader *r, struct store_rotation *rotation)
{
    unsigned char step[STEP_BYTES];
    size_t len;

    if (!take_optional(r, ROTATION_STEP, step, sizeof step, &len))
        return;
    if (len != sizeof step || step[0] == STORE_STEP_NONE) {
        r->bad = true;
        return;
    }
    rotation->step = (enum store_step)step[0];
    rotation->old_number = (uint32_t)get_le(step + 1, 4);
    rotation->new_number = (uint32_t)get_le(step + 5, 4);
}

static void take_timeout(struct reader *r, struct store_rotation *rotation)
{
    unsigned char timeout[4];
    size_t len;

    if (!take_optional(r, ROTATION_TIMEOUT, timeout, sizeof timeout, &len))
        return;
    if (len == sizeof timeout)
        rotation->timeout_s = (uint32_t)get_le(timeout, sizeof timeout);
    if (rotation->timeout_s == 0)
        r->bad = true;
}

void record_take_rotation(struct reader *r, struct store_details *ret_details)
{
    struct store_rotation *rotation = &ret_details->rotation;

    rotation->every_s = take_optional_number(r, ROTATION_EVERY);
    take_text(r, ROTATION_GENERATOR, rotation->generator, STORE_GENERATOR_MAX);
    take_text(r, ROTATION_ROTATOR, rotation->rotator, STORE_ROTATOR_MAX);
    take_step(r, rotation);
    take_timeout(r, rotation);
    if (!record_rotation_valid(rotation, ret_details->next_number))
        r->bad = true;
}
