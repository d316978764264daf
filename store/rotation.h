/*
 * How a secret is rotated, as its record has it. Part of store.h.
 */
#ifndef STORE_ROTATION_H
#define STORE_ROTATION_H

#include <stdint.h>

#define STORE_GENERATOR_MAX 64
#define STORE_ROTATOR_MAX 64
#define STORE_STEP_TIMEOUT_MAX_S (24U * 60 * 60)
#define STORE_ROTATION_MAX_S (3650ULL * 24 * 60 * 60) /* ten years */

/*
 * How far a rotation by a rotator has come: the step that was begun last. In `create` the new
 * version is not there yet, in `set` and `test` it is pending, in `finish` it is current.
 */
enum store_step {
    STORE_STEP_NONE,
    STORE_STEP_CREATE,
    STORE_STEP_SET,
    STORE_STEP_TEST,
    STORE_STEP_FINISH,
};

/*
 * How a secret is rotated. The store keeps it and does nothing by it: what a generator and a
 * rotator are, and when a rotation is due, whoever rotates knows.
 */
struct store_rotation {
    uint64_t every_s; /* up to STORE_ROTATION_MAX_S; 0: only when somebody says so */
    char generator[STORE_GENERATOR_MAX + 1]; /* what makes the next value; "" for none */
    char rotator[STORE_ROTATOR_MAX + 1];     /* the name of a program; "" for none */
    uint32_t timeout_s;   /* of each of its steps, up to STORE_STEP_TIMEOUT_MAX_S; 0: not set */
    enum store_step step; /* of the rotation that has begun and not ended, if there is one; then: */
    uint32_t old_number;  /* the version that was current when it began */
    uint32_t new_number;  /* the version that it makes, from the step `set` on */
};

#endif
