/*
 * The record of this run: where what it does with the store is written, and who does it. Knows no
 * command.
 */
#ifndef TOOLS_RECORD_H
#define TOOLS_RECORD_H

#include "audit.h"
#include "cli.h"

/*
 * Have what this run changes recorded, unless '--audit none' says otherwise. The store is loaded.
 * Failures are reported. out: cli->record
 */
enum status record_begin(struct cli *cli);

/*
 * The record of a store that this run makes: it begins with that. `record_check_new()` refuses a
 * record that was named and has lines already, as those of another store; failures are reported.
 * record_begin_new() is a store_prepare_fn with `cli`: it gives what is in the store's own record,
 * of a store that was there before, another name. record_undo_new() undoes it where there is to be
 * no store after all.
 */
enum status record_check_new(const struct cli *cli, const struct task *task);
enum store_err record_begin_new(void *arg, struct store *store);
void record_undo_new(struct cli *cli);

/* The name that an older record has got, or NULL. */
const char *record_former(const struct cli *cli);

/* Record that this run reads the version `number` of the secret that `task` names, and with which
 * result, before it gives the value out. Failures are reported. */
enum status record_read(struct cli *cli, const struct task *task, uint32_t number,
                        enum store_err result);

/* Release it, after the store. */
void record_end(struct cli *cli);

/* The name of this run's record, or of the one that the store has where it is to be none. NULL when
 * out of memory; the caller frees it. */
char *record_name(const struct cli *cli);

#endif
