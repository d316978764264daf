/*
 * When rotations are due. Must not know how they are done.
 */
#include "schedule.h"

#include "clock.h"
#include "duration.h"
#include "output.h"
#include "rotator.h"
#include "text.h"

#include <time.h>

#define NS_PER_S 1000000000

/* A version from the end of time is never due. */
static int64_t add(int64_t time_ns, uint64_t duration_s)
{
    int64_t sum;

    if (__builtin_add_overflow(time_ns, (int64_t)duration_s * NS_PER_S, &sum))
        return INT64_MAX;
    return sum;
}

struct schedule schedule_of(const struct store_details *details)
{
    const struct store_version *current = store_version_of(details, details->current);
    struct schedule schedule = {.rotation = details->rotation};

    if (current)
        schedule.rotated_ns = current->created_ns;
    if (schedule.rotation.every_s) {
        schedule.due_ns = add(schedule.rotated_ns, schedule.rotation.every_s);
        schedule.overdue = schedule.due_ns <= clock_ns(CLOCK_REALTIME);
    }
    return schedule;
}

bool schedule_set(const struct schedule *schedule)
{
    const struct store_rotation *rotation = &schedule->rotation;

    return rotation->every_s || rotation->generator[0] || rotation->rotator[0];
}

void schedule_print(const struct schedule *schedule)
{
    const struct store_rotation *rotation = &schedule->rotation;
    char every[DURATION_TEXT];
    char due[OUTPUT_TIME];

    duration_print(rotation->every_s, every);
    printf("%s%s, ", rotation->every_s ? "every " : "only by hand", rotation->every_s ? every : "");
    if (rotation->rotator[0]) {
        printf("by ");
        text_print(stdout, rotation->rotator);
        printf("%s", rotation->generator[0] ? ", " : "");
    }
    if (rotation->generator[0] || !rotation->rotator[0])
        text_print(stdout, rotation->generator[0] ? rotation->generator : "no generator");
    if (rotation->step != STORE_STEP_NONE)
        printf(", in the step '%s'", rotator_step_name(rotation->step));
    if (rotation->every_s) {
        output_local_time(schedule->due_ns, due);
        printf(", %s %s", schedule->overdue ? "overdue since" : "due", due);
    }
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *timeout_json(const struct store_rotation *rotation)
{
    uint32_t timeout_s = rotation->timeout_s ? rotation->timeout_s : ROTATOR_TIMEOUT_S;

    return rotation->rotator[0] ? json_integer((json_int_t)timeout_s) : json_null();
}

json_t *schedule_json(const struct schedule *schedule)
{
    const struct store_rotation *rotation = &schedule->rotation;
    bool timed = rotation->every_s != 0;
    bool begun = rotation->step != STORE_STEP_NONE;
    json_int_t version = rotation->new_number;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "every",
                     timed ? json_integer((json_int_t)rotation->every_s) : json_null(), "generator",
                     text_or_null(rotation->generator), "rotator", text_or_null(rotation->rotator),
                     "timeout", timeout_json(rotation), "step",
                     text_or_null(begun ? rotator_step_name(rotation->step) : ""), "version",
                     version ? json_integer(version) : json_null(), "rotated",
                     output_json_time(schedule->rotated_ns), "due",
                     timed ? output_json_time(schedule->due_ns) : json_null(), "overdue",
                     schedule->overdue);
}
