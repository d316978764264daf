/*
 * secretctl rotation: how a secret is rotated, set and told. 'secretctl rotate' does it.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"
#include "duration.h"
#include "find.h"
#include "generate.h"
#include "output.h"
#include "rotator.h"
#include "schedule.h"
#include "text.h"
#include "unlock.h"

#include <string.h>

enum {
    OPTION_EVERY = CLI_OPTION_FIRST,
    OPTION_GENERATE,
    OPTION_ROTATOR,
    OPTION_TIMEOUT,
    OPTION_OFF,
};

const struct cli_option rotation_options[] = {
    {OPTION_EVERY, "every", "D", "it is due that long after the current version was made"},
    {OPTION_GENERATE, "generate", "SPEC", "what makes the next value, such as password:24"},
    {OPTION_ROTATOR, "rotator", "NAME", "the program in " ROTATOR_FOLDER " that rotates it"},
    {OPTION_TIMEOUT, "timeout", "D", "how long each step of the rotator may take, 60s if not set"},
    {OPTION_OFF, "off", NULL, "rotate it no more"},
    {0, NULL, NULL, NULL},
};

/* What is to be set; what was not given stays as it is. */
struct wanted {
    bool off;
    uint64_t every_s;      /* 0: not given */
    const char *generator; /* NULL: not given */
    const char *rotator;   /* likewise */
    uint64_t timeout_s;    /* 0: not given */
};

static bool parse_duration(const char *text, uint64_t max_s, uint64_t *ret_s)
{
    return !text || (duration_parse(text, max_s, ret_s) && *ret_s > 0);
}

static enum status parse_durations(const struct cli *cli, struct wanted *wanted)
{
    const char *every = cli_value(cli, OPTION_EVERY);
    const char *timeout = cli_value(cli, OPTION_TIMEOUT);

    if (!parse_duration(every, STORE_ROTATION_MAX_S, &wanted->every_s))
        return fail_usage("rotation",
                          "'--every %s': it is a duration from 1s to 3650d, such as 30d, 12h, 90s",
                          every);
    if (!parse_duration(timeout, STORE_STEP_TIMEOUT_MAX_S, &wanted->timeout_s))
        return fail_usage(
            "rotation", "'--timeout %s': it is a duration from 1s to 1d, such as 90s, 5m", timeout);
    return STATUS_DONE;
}

static enum status parse(const struct cli *cli, struct wanted *wanted)
{
    struct generate_spec spec;
    const char *problem;

    wanted->off = cli_has(cli, OPTION_OFF);
    wanted->generator = cli_value(cli, OPTION_GENERATE);
    wanted->rotator = cli_value(cli, OPTION_ROTATOR);
    if (wanted->off && cli->given_count > 1)
        return fail_usage("rotation", "'--off' goes with no other option");
    problem = wanted->generator ? generate_parse(wanted->generator, &spec) : NULL;
    if (!problem && wanted->generator && strlen(wanted->generator) > STORE_GENERATOR_MAX)
        problem = "it is longer than 64 characters";
    if (problem)
        return fail_usage("rotation", "'--generate %s': %s", wanted->generator, problem);
    problem = wanted->rotator ? rotator_name_problem(wanted->rotator) : NULL;
    if (problem)
        return fail_usage("rotation", "'--rotator %s': %s", wanted->rotator, problem);
    return parse_durations(cli, wanted);
}

/* What is in the middle is its rotator's. */
static const struct fail_hint in_the_middle[] = {
    {STORE_ERR_INVALID, "its rotation has begun and not ended",
     "rotate it, or give that up with 'secretctl rotate --drop'"},
    {STORE_OK, NULL, NULL}};

static bool takes_rotator_away(const struct wanted *wanted, const struct store_rotation *rotation)
{
    return wanted->off || (wanted->rotator && strcmp(wanted->rotator, rotation->rotator) != 0);
}

static enum store_err set(struct store *store, const char *path, void *arg)
{
    const struct wanted *wanted = arg;
    struct store_rotation rotation = {.every_s = 0};
    struct store_details details;
    struct store_attr attr;
    enum store_err err = store_resolve(store, path, &attr);

    if (err == STORE_OK)
        err = store_details(store, attr.node, &details);
    if (err != STORE_OK)
        return err;
    if (details.rotation.step != STORE_STEP_NONE && takes_rotator_away(wanted, &details.rotation))
        return STORE_ERR_INVALID;
    if (!wanted->off)
        rotation = details.rotation;
    if (wanted->every_s)
        rotation.every_s = wanted->every_s;
    if (wanted->generator)
        snprintf(rotation.generator, sizeof(rotation.generator), "%s", wanted->generator);
    if (wanted->rotator)
        snprintf(rotation.rotator, sizeof(rotation.rotator), "%s", wanted->rotator);
    if (wanted->timeout_s)
        rotation.timeout_s = (uint32_t)wanted->timeout_s;
    return store_set_rotation(store, path, &rotation);
}

static void print_rotator(const struct store_rotation *rotation)
{
    char timeout[DURATION_TEXT];

    printf("rotator:     ");
    text_print(stdout, rotation->rotator);
    duration_print(rotation->timeout_s ? rotation->timeout_s : ROTATOR_TIMEOUT_S, timeout);
    printf("\ntimeout:     %s\n", timeout);
    if (rotation->step == STORE_STEP_NONE)
        return;
    printf("step:        %s", rotator_step_name(rotation->step));
    if (rotation->new_number)
        printf(" of version %u", (unsigned)rotation->new_number);
    putchar('\n');
}

static void print_rotation(const char *path, const struct schedule *schedule)
{
    const struct store_rotation *rotation = &schedule->rotation;
    char every[DURATION_TEXT];
    char time[OUTPUT_TIME];

    duration_print(rotation->every_s, every);
    printf("path:        ");
    text_print(stdout, path);
    printf("\nevery:       %s\ngenerator:   ", rotation->every_s ? every : "never");
    text_print(stdout, rotation->generator[0] ? rotation->generator : "none");
    putchar('\n');
    if (rotation->rotator[0])
        print_rotator(rotation);
    output_local_time(schedule->rotated_ns, time);
    printf("rotated:     %s\n", time);
    if (rotation->every_s) {
        output_local_time(schedule->due_ns, time);
        printf("%-12s %s\n", schedule->overdue ? "overdue:" : "due:", time);
    }
}

static enum status tell(struct cli *cli, const char *path)
{
    const struct task task = {"tell the rotation of", cli->operands[0]};
    enum status status = cli->store ? STATUS_DONE : unlock_store(cli, STORE_READ_ONLY);
    struct store_details details;
    struct store_attr attr;
    struct schedule schedule;

    if (status == STATUS_DONE)
        status = find_secret(cli->store, &task, path, &attr, &details);
    if (status != STATUS_DONE)
        return status;
    schedule = schedule_of(&details);
    if (cli->json) {
        json_t *rotation = schedule_json(&schedule);
        if (rotation)
            json_object_set_new(rotation, "path", json_string(path));
        return output_json(&task, rotation);
    }
    print_rotation(path, &schedule);
    return STATUS_DONE;
}

enum status rotation_run(struct cli *cli)
{
    AUTO_FREE char *path = store_plain_path(cli->operands[0]);
    struct wanted wanted = {.off = false};
    const struct change change = {"set the rotation of", set, &wanted, in_the_middle};
    enum status status = parse(cli, &wanted);

    if (status == STATUS_DONE && !path)
        status = fail_code(&(struct task){"read", "the command line"}, STORE_ERR_NO_MEMORY);
    if (status == STATUS_DONE && cli->given_count > 0)
        status = change_paths(cli, &change, cli->operands, 1);
    if (status == STATUS_DONE && (cli->given_count == 0 || cli->json))
        status = tell(cli, path);
    return status;
}
