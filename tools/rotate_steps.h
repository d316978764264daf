/*
 * The rotation of a secret by its rotator: four steps, each begun by a commit that says so and run
 * outside of any transaction.
 *
 *   create  a new value; then it is pending
 *   set     where it is checked, the new value is made valid
 *   test    the new value is tried; then it is current, and every live mount shows it
 *   finish  the old value is made invalid
 *
 * Whatever fails, is killed or interrupted stays at its step, and the next run goes on with that:
 * a step may be run more than once. Where somebody else changed the versions, or the rotation,
 * since, nothing goes on until the rotation is given up.
 */
#ifndef TOOLS_ROTATE_STEPS_H
#define TOOLS_ROTATE_STEPS_H

#include "cli.h"

/*
 * Rotate `node`, a secret that has a rotator, or go on with its rotation. Only one process may do
 * so at a time: see runlock.h. Outside of a transaction. Failures are reported.
 * in:     anew        where the rotation that was not ended has only `finish` left, begin another
 *                     behind it
 * out:    ret_number  the version that this made current, for a failure of `finish` too; else 0
 */
enum status rotate_steps(struct cli *cli, const struct task *task, uint64_t node, bool anew,
                         uint32_t *ret_number);

/* What the generator `spec`, which a secret has kept, makes. Failures are reported. */
enum status rotate_generate(const struct task *task, const char *spec, struct secbuf *ret_value);

/* Give up the rotation of the secret at `path`, in the transaction that is open: the step is
 * forgotten, and nothing is pending. Failures are reported. */
enum status rotate_drop(struct store *store, const struct task *task, const char *path);

#endif
