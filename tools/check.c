/*
 * secretctl check: loading verifies every row of the store; here every value is decrypted too,
 * those of old versions and of what was removed included. No value leaves locked memory.
 */
#include "commands.h"
#include "output.h"
#include "unlock.h"

#include <inttypes.h>

/* Name the record that is damaged, and the path that it belongs to: who has the key may see it. */
static enum status fail_damaged(const struct cli *cli, const struct task *task)
{
    static struct store_finding finding;
    enum store_err err = store_diagnose(cli->store, &finding);
    const char *quote = finding.path[0] ? "'" : "";

    if (err != STORE_ERR_INTEGRITY)
        return fail_store(task, err);
    return fail(task, STATUS_INTEGRITY, "trust nothing in it, and bring back a backup",
                "%s (%s%s%s%s%s: %s)", store_strerror(err), finding.record,
                finding.path[0] ? ", " : "", quote, finding.path, quote, finding.wrong);
}

static enum status report(const struct cli *cli, const struct task *task)
{
    struct store_stats stats;

    store_stats(cli->store, &stats);
    if (cli->json)
        return output_json(
            task, json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "ok", 1, "secrets",
                            (json_int_t)stats.secrets, "directories", (json_int_t)stats.directories,
                            "deleted", (json_int_t)stats.deleted, "versions",
                            (json_int_t)stats.versions, "key_slots", (json_int_t)stats.slots,
                            "generation", (json_int_t)stats.generation));
    printf("ok: %" PRIu64 " secrets, %" PRIu64 " directories, %" PRIu64 " deleted, %" PRIu64
           " versions, %" PRIu32 " key slots, generation %" PRIu64 "\n",
           stats.secrets, stats.directories, stats.deleted, stats.versions, stats.slots,
           stats.generation);
    return STATUS_DONE;
}

enum status check_run(struct cli *cli)
{
    const struct task task = {"check the store", cli->store_path};
    enum status status = unlock_open(cli, STORE_READ_ONLY);

    if (status == STATUS_DONE)
        status = unlock_keys(cli);
    if (status != STATUS_DONE)
        return status;
    enum store_err err = store_load(cli->store);
    if (err == STORE_OK)
        err = store_check(cli->store);
    if (err == STORE_ERR_INTEGRITY)
        return fail_damaged(cli, &task);
    return err == STORE_OK ? report(cli, &task) : fail_store(&task, err);
}
