/*
 * Rotators: programs of the administrator's that bring a new value to where it is checked. Which
 * ones may run, and one run of one of them.
 *
 * Must not know the store's transactions: what a step means for a secret is rotate_steps.h.
 */
#ifndef TOOLS_ROTATOR_H
#define TOOLS_ROTATOR_H

#include "fail.h"
#include "store.h"

/* Where they are. Not to be had from the environment or an option: who chooses it chooses what
 * root runs. */
#define ROTATOR_FOLDER "/etc/secretfs/rotators.d"

#define ROTATOR_TIMEOUT_S 60 /* of a step, where the secret has none of its own */
#define ROTATOR_OUTPUT_MAX 8192

/* The name of a step, as its argument and as people read it. */
const char *rotator_step_name(enum store_step step);

/* What is wrong with `name` as the name of a rotator, or NULL. */
const char *rotator_name_problem(const char *name);

/*
 * Whether the rotator `name` may run: it is a regular file in `folder`, executable; and it, the
 * folder and every directory above are root's, and nobody else can write to them. No links are
 * followed. Failures are reported.
 * out:    ret_program  its path; caller frees
 */
enum status rotator_find(const struct task *task, const char *folder, const char *name,
                         char **ret_program);

/* One step of one secret. */
struct rotator_step {
    const char *program; /* from rotator_find() */
    const char *name;    /* the rotator's */
    const char *path;    /* the secret's */
    enum store_step step;
    uint32_t number; /* of the version that is made */
    uint32_t timeout_s;
    const struct secbuf *old_value; /* descriptor 3 */
    const struct secbuf *new_value; /* descriptor 4; NULL in the step that makes it */
};

/*
 * Run one step to its end: PROGRAM STEP, with an environment of its own, without descriptors but
 * the two of the values, in a session of its own. What is left of its process group when it ends,
 * or when its time is over, is killed. What it prints is repeated on standard error, line by line
 * and without the values.
 *
 * Signals that end this process are kept until the rotator is killed.
 * in/out: ret_value  what the rotator has written to descriptor 4 where `new_value` is NULL; empty
 *                    on failure
 * Failures are reported.
 */
enum status rotator_run(const struct task *task, const struct rotator_step *step,
                        struct secbuf *ret_value);

#endif
