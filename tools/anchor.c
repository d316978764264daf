/*
 * secretctl anchor: what the anchor says of the store, and accepting a state that it refuses.
 */
#include "anchor.h"
#include "commands.h"
#include "output.h"
#include "unlock.h"

#include <inttypes.h>
#include <string.h>

/* Both sides, as they are compared. */
struct comparison {
    uint64_t generation; /* the store's */
    struct anchor_state anchor;
    struct anchor_acceptance accepted; /* the last one */
};

static const char *verdict_word(enum anchor_verdict verdict)
{
    switch (verdict) {
    case ANCHOR_NONE:
        return "none";
    case ANCHOR_SAME:
        return "same";
    case ANCHOR_NEWER:
        return "newer";
    case ANCHOR_OLDER:
        return "older";
    case ANCHOR_FORKED:
        return "forked";
    case ANCHOR_DAMAGED:
        return "damaged";
    }
    return "";
}

static const char *verdict_text(enum anchor_verdict verdict)
{
    switch (verdict) {
    case ANCHOR_NONE:
        return "it has no anchor yet";
    case ANCHOR_SAME:
        return "it is the state that was last seen";
    case ANCHOR_NEWER:
        return "it is newer than the state that was last seen";
    case ANCHOR_OLDER:
        return "refused: it is older than the state that was last seen";
    case ANCHOR_FORKED:
        return "refused: another state with this generation was seen";
    case ANCHOR_DAMAGED:
        return "refused: the anchor is damaged, of this store after a rekey, or of another one";
    }
    return "";
}

static bool has_state(const struct anchor_state *anchor)
{
    return anchor->verdict != ANCHOR_NONE && anchor->verdict != ANCHOR_DAMAGED;
}

static json_t *generation_json(bool known, uint64_t generation)
{
    return known ? json_integer((json_int_t)generation) : json_null();
}

static json_t *accepted_json(const struct anchor_acceptance *a)
{
    if (a->generation == 0)
        return json_null();
    return json_pack("{s:I, s:I, s:o, s:o}", "generation", (json_int_t)a->generation, "accepted",
                     (json_int_t)a->accepted, "seen", generation_json(a->seen > 0, a->seen), "time",
                     output_json_time(a->time_ns));
}

static enum status show_json(const struct task *task, const struct comparison *c)
{
    bool known = has_state(&c->anchor);

    return output_json(task, json_pack("{s:s, s:I, s:o, s:o, s:o}", "state",
                                       verdict_word(c->anchor.verdict), "generation",
                                       (json_int_t)c->generation, "anchor",
                                       generation_json(known, c->anchor.generation), "seen",
                                       known ? output_json_time(c->anchor.seen_ns) : json_null(),
                                       "accepted", accepted_json(&c->accepted)));
}

static void show_text(const struct comparison *c)
{
    char when[OUTPUT_TIME];

    printf("store:    generation %" PRIu64 "; %s\n", c->generation,
           verdict_text(c->anchor.verdict));
    if (has_state(&c->anchor)) {
        output_local_time(c->anchor.seen_ns, when);
        printf("anchor:   generation %" PRIu64 ", seen %s\n", c->anchor.generation, when);
    } else {
        printf("anchor:   -\n");
    }
    if (c->accepted.generation > 0) {
        output_local_time(c->accepted.time_ns, when);
        printf("accepted: generation %" PRIu64, c->accepted.accepted);
        if (c->accepted.seen > 0)
            printf(" in place of %" PRIu64, c->accepted.seen);
        printf(", %s\n", when);
    }
}

static enum status show(struct cli *cli)
{
    const struct task task = {"read the anchor of", cli->store_path};
    struct comparison c;
    enum status status = unlock_whatever_state(cli, STORE_READ_ONLY);

    if (status != STATUS_DONE)
        return status;
    anchor_compare(cli->store, &c.anchor);
    c.generation = store_generation(cli->store);
    c.accepted = anchor_accepted(cli->store);
    if (cli->json)
        return show_json(&task, &c);
    show_text(&c);
    return STATUS_DONE;
}

static enum status announce(const struct cli *cli, const struct task *task,
                            const struct anchor_state *before)
{
    struct anchor_acceptance a = anchor_accepted(cli->store);
    bool contradicted = before->verdict == ANCHOR_OLDER || before->verdict == ANCHOR_FORKED ||
                        before->verdict == ANCHOR_DAMAGED;

    if (cli->json)
        return output_json(task,
                           json_pack("{s:s, s:o}", "was", verdict_word(before->verdict), "accepted",
                                     contradicted ? accepted_json(&a) : json_null()));
    if (!contradicted) {
        printf("There is nothing to accept: %s.\n", verdict_text(before->verdict));
        return STATUS_DONE;
    }
    printf("Accepted: generation %" PRIu64, a.accepted);
    if (a.seen > 0)
        printf(" in place of %" PRIu64, a.seen);
    printf(" is generation %" PRIu64 " from now on.\n"
           "A daemon that still serves the former state goes on with this one after "
           "'secretctl upgrade'%s.\n",
           a.generation,
           before->verdict == ANCHOR_DAMAGED ? "; one from after a rekey, when it is started again"
                                             : "");
    return STATUS_DONE;
}

static enum status accept(struct cli *cli)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_DENIED, "the anchor can't be written",
         "run it as its owner, or name another with --anchor"},
        {STORE_OK, NULL, NULL},
    };
    const struct task task = {"accept the state of", cli->store_path};
    struct anchor_state before;
    enum status status = unlock_whatever_state(cli, STORE_READ_WRITE);

    if (status != STATUS_DONE)
        return status;
    enum store_err err = anchor_accept(cli->store, &before);
    if (err != STORE_OK)
        return fail_hinted(&task, err, hints);
    return announce(cli, &task, &before);
}

enum status anchor_run(struct cli *cli)
{
    if (cli->operand_count == 0)
        return show(cli);
    if (strcmp(cli->operands[0], "accept") != 0)
        return fail_usage("anchor", "'%s' is neither 'accept' nor nothing", cli->operands[0]);
    return accept(cli);
}
