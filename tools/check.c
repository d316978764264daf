/*
 * secretctl check: loading verifies every row of the store; here every value is decrypted too,
 * those of old versions and of what was removed included. No value leaves locked memory.
 */
#include "commands.h"
#include "output.h"
#include "unlock.h"

#include <inttypes.h>

enum status check_run(struct cli *cli)
{
    const struct task task = {"check the store", cli->store_path};
    enum status status = unlock_store(cli, STORE_READ_ONLY);
    struct store_stats stats;

    if (status != STATUS_DONE)
        return status;
    enum store_err err = store_check(cli->store);
    if (err != STORE_OK)
        return fail_store(&task, err);
    store_stats(cli->store, &stats);
    if (cli->json)
        return output_json(&task, json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "secrets",
                                            (json_int_t)stats.secrets, "versions",
                                            (json_int_t)stats.versions, "generation",
                                            (json_int_t)stats.generation));
    printf("ok: %" PRIu64 " secrets, %" PRIu64 " versions, generation %" PRIu64 "\n", stats.secrets,
           stats.versions, stats.generation);
    return STATUS_DONE;
}
