/*
 * The words are written before the code, and not while it stands: so whoever has seen the code
 * reads whole words. No more than the code is relied upon.
 */
#include "degraded.h"
#include "ready.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

_Static_assert(sizeof(((struct kept *)NULL)->degraded.why) == CONTROL_WHY_BYTES, "they are copied");

static void put_words(char words[static CONTROL_WHY_BYTES], enum store_err err)
{
    const struct store_fault *f = store_fault();
    const char *why = f->sys_errno ? strerror(f->sys_errno) : f->reason;

    if (f->code != err || why[0] == '\0')
        snprintf(words, CONTROL_WHY_BYTES, "%s", store_strerror(err));
    else
        snprintf(words, CONTROL_WHY_BYTES, "%s (%s%s%s)", store_strerror(err), f->object,
                 f->object[0] ? ": " : "", why);
}

void degraded_note(struct kept *kept, enum store_err err)
{
    struct kept_degraded *d = &kept->degraded;

    if (err == STORE_ERR_BUSY || err == d->code)
        return;
    if (err == STORE_OK) {
        d->code = STORE_OK;
        return;
    }
    if (d->code == STORE_OK)
        d->since_s = time(NULL);
    d->code = STORE_OK;
    put_words(d->why, err);
    d->code = err;
}

void degraded_tell(const struct kept *kept, struct control_reply *ret_reply)
{
    const struct kept_degraded *d = &kept->degraded;

    ret_reply->degraded = d->code;
    if (ret_reply->degraded == STORE_OK)
        return;
    ret_reply->degraded_since_s = d->since_s;
    memcpy(ret_reply->degraded_why, d->why, CONTROL_WHY_BYTES);
    ret_reply->degraded_why[CONTROL_WHY_BYTES - 1] = '\0';
    for (char *c = ret_reply->degraded_why; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

void degraded_notify(struct degraded_status *status, const struct kept *kept)
{
    struct control_reply now = {.degraded = STORE_OK};
    char state[CONTROL_WHY_BYTES + 64];

    degraded_tell(kept, &now);
    if (status->since_s == now.degraded_since_s)
        return;
    status->since_s = now.degraded_since_s;
    snprintf(state, sizeof state, "STATUS=%s%s", now.degraded ? "degraded: " : "serving",
             now.degraded_why);
    ready_notify(state);
}
