/*
 * Transactions around the steps. In each the secret is looked at anew, and has to be as this run
 * has left it; what was changed meanwhile is never overwritten.
 */
#include "rotate_steps.h"

#include "auto.h"
#include "change.h"
#include "find.h"
#include "generate.h"
#include "rotator.h"

#include <string.h>

#define GIVE_UP "give its rotation up with 'secretctl rotate --drop'"

/* A secret as it was seen in the last transaction. */
struct seen {
    char path[STORE_PATH_MAX];
    uint64_t current;
    uint64_t pending;
    uint32_t current_number;
    uint32_t pending_number; /* 0: nothing is pending */
    uint32_t next_number;
    struct store_rotation rotation;
};

struct rotation {
    struct cli *cli;
    const struct task *task;
    uint64_t node;
    struct seen seen;
};

/* ---- Looking -------------------------------------------------------------- */

static uint32_t number_of(const struct store_details *details, uint64_t version)
{
    const struct store_version *found = store_version_of(details, version);
    return found ? found->number : 0;
}

static uint64_t version_of(const struct store_details *details, uint32_t number)
{
    const struct store_version *found = store_version_numbered(details, number);
    return found ? found->id : 0;
}

static enum store_err look(struct rotation *r, struct seen *ret)
{
    struct store *store = r->cli->store;
    struct store_details details;
    struct store_attr attr;
    enum store_err err = store_stat(store, r->node, &attr);

    if (err == STORE_OK && attr.deleted)
        err = STORE_ERR_NOT_FOUND;
    if (err == STORE_OK)
        err = store_details(store, r->node, &details);
    if (err == STORE_OK)
        err = store_path_below(store, STORE_ROOT_ID, r->node, ret->path);
    if (err != STORE_OK)
        return err;
    ret->current = details.current;
    ret->pending = details.pending;
    ret->current_number = number_of(&details, details.current);
    ret->pending_number = number_of(&details, details.pending);
    ret->next_number = details.next_number;
    ret->rotation = details.rotation;
    return STORE_OK;
}

/* What was removed is no row's fault. */
static enum status fail_look(const struct rotation *r, enum store_err err)
{
    return err == STORE_ERR_NOT_FOUND ? fail_code(r->task, err) : fail_store(r->task, err);
}

/* Whether the versions are as the step that was reached has them. */
static bool fits(const struct seen *seen)
{
    const struct store_rotation *rotation = &seen->rotation;

    switch (rotation->step) {
    case STORE_STEP_NONE:
        return seen->pending_number == 0;
    case STORE_STEP_CREATE:
        return seen->pending_number == 0 && seen->current_number == rotation->old_number;
    case STORE_STEP_SET:
    case STORE_STEP_TEST:
        return seen->pending_number == rotation->new_number &&
               seen->current_number == rotation->old_number;
    case STORE_STEP_FINISH:
        return seen->current_number == rotation->new_number;
    }
    return false;
}

static enum status check(const struct rotation *r)
{
    const struct seen *seen = &r->seen;

    if (!seen->rotation.rotator[0])
        return fail(r->task, STATUS_FAILED, "rotate again", "its rotator was taken away meanwhile");
    if (fits(seen))
        return STATUS_DONE;
    if (seen->rotation.step == STORE_STEP_NONE)
        return fail(r->task, STATUS_FAILED,
                    "take the label away with 'secretctl rotate --drop', and rotate again",
                    "version %u is pending already, and of no rotation",
                    (unsigned)seen->pending_number);
    return fail(r->task, STATUS_FAILED, GIVE_UP,
                "its versions were changed since its rotation came to the step '%s'",
                rotator_step_name(seen->rotation.step));
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->current == b->current && a->pending == b->pending &&
           a->rotation.step == b->rotation.step &&
           a->rotation.old_number == b->rotation.old_number &&
           a->rotation.new_number == b->rotation.new_number &&
           strcmp(a->rotation.rotator, b->rotation.rotator) == 0;
}

/* Begin a transaction, in which the secret is still as this run has left it. */
static enum status begin_again(struct rotation *r)
{
    struct seen now;
    enum status status = change_begin(r->cli, r->task);
    enum store_err err;

    if (status != STATUS_DONE)
        return status;
    err = look(r, &now);
    if (err != STORE_OK)
        status = fail_look(r, err);
    else if (!same(&now, &r->seen))
        status = fail(r->task, STATUS_FAILED, "see 'secretctl rotation', and rotate again",
                      "it was changed while its rotator was in the step '%s'",
                      rotator_step_name(r->seen.rotation.step));
    if (status == STATUS_DONE)
        r->seen = now;
    else
        store_rollback(r->cli->store);
    return status;
}

/* ---- Going on ------------------------------------------------------------- */

/* In the transaction that is open: have the step be the next one, and commit. No name shows it. */
static enum status go_to(struct rotation *r, enum store_step step, uint32_t old_number,
                         uint32_t new_number)
{
    struct store *store = r->cli->store;
    struct store_rotation rotation = r->seen.rotation;
    enum status status;
    enum store_err err;

    rotation.step = step;
    rotation.old_number = old_number;
    rotation.new_number = new_number;
    err = store_set_rotation(store, r->seen.path, &rotation);
    if (err == STORE_OK)
        err = look(r, &r->seen);
    if (err == STORE_OK)
        err = store_commit(store);
    if (err == STORE_OK)
        return STATUS_DONE;
    status = fail_store(r->task, err);
    store_rollback(store);
    return status;
}

/* The value of a version, for the rotator; what is given out no more is empty to it. */
static enum store_err read_value(struct rotation *r, uint32_t number, struct secbuf *ret_value)
{
    struct store_details details;
    enum store_err err = store_details(r->cli->store, r->node, &details);

    if (err == STORE_OK)
        err = store_read(r->cli->store, version_of(&details, number), ret_value);
    return err;
}

static bool given_out_no_more(enum store_err err)
{
    return err == STORE_ERR_REVOKED || err == STORE_ERR_EXPIRED || err == STORE_ERR_NO_VERSION;
}

/* Run the step that was reached. */
static enum status run_step(struct rotation *r, struct secbuf *ret_value)
{
    const struct store_rotation *rotation = &r->seen.rotation;
    SECBUF_AUTO struct secbuf old_value = SECBUF_INIT;
    SECBUF_AUTO struct secbuf new_value = SECBUF_INIT;
    AUTO_FREE char *program = NULL;
    bool create = rotation->step == STORE_STEP_CREATE;
    struct rotator_step step = {
        .name = rotation->rotator,
        .path = r->seen.path,
        .step = rotation->step,
        .number = create ? r->seen.next_number : rotation->new_number,
        .timeout_s = rotation->timeout_s ? rotation->timeout_s : ROTATOR_TIMEOUT_S,
        .old_value = &old_value,
        .new_value = create ? NULL : &new_value,
    };
    enum store_err err = read_value(r, rotation->old_number, &old_value);
    enum status status;

    if (given_out_no_more(err))
        err = STORE_OK;
    if (err == STORE_OK && !create)
        err = read_value(r, rotation->new_number, &new_value);
    if (err != STORE_OK)
        return fail_hinted(r->task, err,
                           (const struct fail_hint[]){
                               {STORE_ERR_REVOKED, "its pending version is revoked", GIVE_UP},
                               {STORE_OK, NULL, NULL}});
    status = rotator_find(r->task, ROTATOR_FOLDER, rotation->rotator, &program);
    if (status != STATUS_DONE)
        return status;
    step.program = program;
    return rotator_run(r->task, &step, ret_value);
}

/* ---- The steps ------------------------------------------------------------ */

enum status rotate_generate(const struct task *task, const char *spec, struct secbuf *ret_value)
{
    struct generate_spec parsed;
    const char *problem = generate_parse(spec, &parsed);
    enum store_err err;

    if (problem)
        return fail(task, STATUS_FAILED, "set another with 'secretctl rotation'",
                    "its generator '%s' is not known here: %s", spec, problem);
    err = generate_value(&parsed, ret_value);
    return err == STORE_OK ? STATUS_DONE : fail_code(task, err);
}

/* What the generator makes, where the rotator has made nothing. */
static enum status generate(const struct rotation *r, struct secbuf *value)
{
    const char *generator = r->seen.rotation.generator;

    if (!generator[0])
        return fail(r->task, STATUS_FAILED,
                    "have it write one to descriptor 4, or set a generator with 'secretctl "
                    "rotation PATH --generate SPEC'",
                    "its rotator made no value in the step 'create', and it has no generator");
    return rotate_generate(r->task, generator, value);
}

static enum status create(struct rotation *r)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    uint32_t old_number = r->seen.rotation.old_number;
    uint32_t number;
    enum status status = run_step(r, &value);
    enum store_err err;

    if (status == STATUS_DONE && value.len == 0)
        status = generate(r, &value);
    if (status == STATUS_DONE)
        status = begin_again(r);
    if (status != STATUS_DONE)
        return status;
    err = store_put_pending(r->cli->store, r->seen.path, &value, &number);
    if (err == STORE_OK)
        return go_to(r, STORE_STEP_SET, old_number, number);
    status = fail_store(r->task, err);
    store_rollback(r->cli->store);
    return status;
}

/* From `set` to `test`, or from `finish` to the end. */
static enum status run_and_go_to(struct rotation *r, enum store_step next)
{
    SECBUF_AUTO struct secbuf none = SECBUF_INIT;
    const struct store_rotation *rotation = &r->seen.rotation;
    uint32_t old_number = next == STORE_STEP_NONE ? 0 : rotation->old_number;
    uint32_t new_number = next == STORE_STEP_NONE ? 0 : rotation->new_number;
    enum status status = run_step(r, &none);

    if (status == STATUS_DONE)
        status = begin_again(r);
    return status == STATUS_DONE ? go_to(r, next, old_number, new_number) : status;
}

static enum status test(struct rotation *r)
{
    SECBUF_AUTO struct secbuf none = SECBUF_INIT;
    const struct store_rotation rotation = r->seen.rotation;
    enum status status = run_step(r, &none);
    enum store_err err;

    if (status == STATUS_DONE)
        status = begin_again(r);
    if (status != STATUS_DONE)
        return status;
    err = store_set_label(r->cli->store, r->seen.path, STORE_LABEL_CURRENT, rotation.new_number);
    if (err == STORE_OK)
        return go_to(r, STORE_STEP_FINISH, rotation.old_number, rotation.new_number);
    status = fail_store(r->task, err);
    store_rollback(r->cli->store);
    return status;
}

/* The old value is made invalid only when no mount gives it any more. */
static enum status finish(struct rotation *r)
{
    enum status status = change_confirm(r->cli);

    return status == STATUS_DONE ? run_and_go_to(r, STORE_STEP_NONE) : status;
}

/* Do the step that was reached, and go to the next. */
static enum status advance(struct rotation *r)
{
    switch (r->seen.rotation.step) {
    case STORE_STEP_NONE:
        break;
    case STORE_STEP_CREATE:
        return create(r);
    case STORE_STEP_SET:
        return run_and_go_to(r, STORE_STEP_TEST);
    case STORE_STEP_TEST:
        return test(r);
    case STORE_STEP_FINISH:
        return finish(r);
    }
    return STATUS_DONE;
}

/* Look at the secret, and begin a rotation where none has begun. */
static enum status begin(struct rotation *r)
{
    enum status status = change_begin(r->cli, r->task);
    enum store_err err;

    if (status != STATUS_DONE)
        return status;
    err = look(r, &r->seen);
    status = err == STORE_OK ? check(r) : fail_look(r, err);
    if (status == STATUS_DONE && r->seen.rotation.step == STORE_STEP_NONE)
        return go_to(r, STORE_STEP_CREATE, r->seen.current_number, 0);
    store_rollback(r->cli->store);
    return status;
}

enum status rotate_steps(struct cli *cli, const struct task *task, uint64_t node, bool anew,
                         uint32_t *ret_number)
{
    struct rotation r = {.cli = cli, .task = task, .node = node};
    enum status status = begin(&r);

    *ret_number = 0;
    if (status == STATUS_DONE && r.seen.rotation.step == STORE_STEP_FINISH) {
        status = advance(&r);
        if (status != STATUS_DONE || !anew)
            return status;
        status = begin(&r);
    }
    while (status == STATUS_DONE && r.seen.rotation.step != STORE_STEP_NONE) {
        status = advance(&r);
        if (r.seen.rotation.step == STORE_STEP_FINISH)
            *ret_number = r.seen.rotation.new_number;
    }
    return status;
}

/* ---- Giving up ------------------------------------------------------------ */

enum status rotate_drop(struct store *store, const struct task *task, const char *path)
{
    struct store_details details;
    struct store_rotation rotation;
    struct store_attr attr;
    enum status status = find_secret(store, task, path, &attr, &details);
    enum store_err err;

    if (status != STATUS_DONE)
        return status;
    rotation = details.rotation;
    if (rotation.step == STORE_STEP_NONE && !details.pending)
        return fail(task, STATUS_FAILED, NULL, "it has none, and nothing is pending");
    rotation.step = STORE_STEP_NONE;
    rotation.old_number = rotation.new_number = 0;
    err = store_set_rotation(store, path, &rotation);
    if (err == STORE_OK && details.pending)
        err = store_set_label(store, path, STORE_LABEL_PENDING, 0);
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}
