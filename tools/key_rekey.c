/*
 * See key_rekey.h. Daemons stand by while it is committed: see control_rekey_begin().
 */
#include "key_rekey.h"

#include "change.h"
#include "control.h"
#include "keys.h"
#include "output.h"
#include "rekey.h"
#include "unlock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define READY_MS 15000 /* a worker may take five seconds to end */

static const char old_copies[] =
    "copies of the store that were made before still open with the keys of then";

struct work {
    const struct cli *cli;
    const struct task *task;
    const struct secbuf *root_key; /* the present one */
    struct store_rekey_slot slots[STORE_SLOTS_MAX];
    size_t slot_count;
    size_t dropped;
    struct control_rekey *daemons; /* that stand by */
    enum status status;            /* why one does not */
};

/* ---- Key slots ------------------------------------------------------------ */

static void keep_slot(struct work *work, const struct store_slot *slot, const struct secbuf *secret)
{
    work->slots[work->slot_count++] =
        (struct store_rekey_slot){slot->id,
                                  {.credential = {slot->kind, secret},
                                   .recipient = slot->recipient,
                                   .command = slot->command[0] ? slot->command : NULL}};
}

/* What is to become of which slot. */
struct choice {
    const struct unlocked *unlocked;
    bool drop;
    uint64_t without;
};

/* in: slots  outlive `work` */
static enum status choose_slots(struct work *work, const struct store_slot *slots, size_t count,
                                const struct choice *choice)
{
    const struct unlocked *unlocked = choice->unlocked;
    bool found = choice->without == 0;

    for (size_t i = 0; i < count; i++) {
        bool opened = slots[i].id == unlocked->slot;
        if (slots[i].id == choice->without) {
            found = true;
            work->dropped++;
            continue;
        }
        if (!opened && slots[i].kind != STORE_SLOT_RECIPIENT && !choice->drop)
            return fail(work->task, STATUS_FAILED, "unlock with it, or let go of it by --drop",
                        "the key of slot %" PRIu64 " (%s) is not at hand", slots[i].id,
                        keys_kind_name(slots[i].kind));
        if (slots[i].kind == STORE_SLOT_RECIPIENT)
            keep_slot(work, &slots[i], NULL);
        else if (opened)
            keep_slot(work, &slots[i], &unlocked->secret);
        else
            work->dropped++;
    }
    if (!found)
        return fail(work->task, STATUS_FAILED, "see 'secretctl key ls'",
                    "there is no key slot %" PRIu64, choice->without);
    if (work->slot_count == 0)
        return fail(work->task, STATUS_FAILED, "unlock with another, or add one first",
                    "no key slot would be left whose key is at hand");
    return STATUS_DONE;
}

/* ---- While it is under way ------------------------------------------------ */

static void take_reply(void *arg, const struct control_reply *reply)
{
    struct work *work = arg;

    if (reply->error)
        work->status =
            fail(work->task, STATUS_FAILED, "nothing was changed; see 'secretctl status'",
                 "the daemon at '%s' does not stand by: %s",
                 reply->mountpoint[0] ? reply->mountpoint : "a mount", strerror(reply->error));
}

static enum store_err get_daemons_ready(void *arg, const struct secbuf *new_key)
{
    struct work *work = arg;
    enum store_err err = control_rekey_begin(work->cli->store, work->root_key, new_key, READY_MS,
                                             take_reply, work, &work->daemons);

    return !err && work->status != STATUS_DONE ? STORE_ERR_BUSY : err;
}

/* ---- All of it ------------------------------------------------------------ */

static enum status commit(struct work *work)
{
    const struct store_rekey rekey = {.slots = work->slots,
                                      .slot_count = work->slot_count,
                                      .ready = get_daemons_ready,
                                      .arg = work};
    enum store_err err = store_rekey(work->cli->store, &rekey);

    control_rekey_end(work->daemons, err == STORE_OK);
    if (work->status != STATUS_DONE)
        return work->status;
    return err == STORE_OK ? STATUS_DONE : fail_store(work->task, err);
}

static enum status announce(const struct work *work)
{
    if (work->cli->json)
        return output_json(work->task,
                           json_pack("{s:I, s:I}", "slots", (json_int_t)work->slot_count, "dropped",
                                     (json_int_t)work->dropped));
    printf("Everything is encrypted under a new root key; %zu key slot%s kept, %zu dropped.\n",
           work->slot_count, work->slot_count == 1 ? "" : "s", work->dropped);
    return STATUS_DONE;
}

static enum status rekey(struct cli *cli, const struct task *task, const struct choice *choice)
{
    struct work work = {.cli = cli, .task = task, .root_key = &choice->unlocked->root_key};
    struct store_slot slots[STORE_SLOTS_MAX];
    size_t count;
    enum status status;

    store_list_slots(cli->store, slots, &count);
    status = choose_slots(&work, slots, count, choice);
    if (status == STATUS_DONE)
        status = commit(&work);
    if (status != STATUS_DONE)
        return status;
    status = change_confirm(cli);
    if (change_compact(cli, "rekeyed") != STATUS_DONE)
        status = STATUS_FAILED;
    if (status == STATUS_DONE)
        status = announce(&work);
    fail_remark(old_copies);
    return status;
}

enum status key_rekey(struct cli *cli, bool drop, uint64_t without)
{
    const struct task task = {"rekey the store", cli->store_path};
    struct unlocked unlocked = {.slot = 0};
    const struct choice choice = {&unlocked, drop, without};
    enum status status = unlock_store_with(cli, STORE_READ_WRITE, &unlocked);

    if (status == STATUS_DONE)
        status = rekey(cli, &task, &choice);
    unlocked_release(&unlocked);
    return status;
}
