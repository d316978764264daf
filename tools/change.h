/*
 * The frame of every writing command: unlock, take the write lock, change, commit; all or nothing.
 *
 * What follows a commit is here too: to wait until each live mount shows it.
 */
#ifndef TOOLS_CHANGE_H
#define TOOLS_CHANGE_H

#include "cli.h"

/* Unlock the store for writing unless that was done, and begin. Failures are reported. */
enum status change_begin(struct cli *cli, const struct task *task);

/*
 * Make all of it durable, and wait until every live mount of the store has confirmed that it shows
 * it, unless --no-wait was given. Failures are reported; STATUS_UNCONFIRMED: it is committed, but a
 * mount did not confirm in five seconds.
 */
enum status change_commit(struct cli *cli, const struct task *task);

typedef enum store_err change_fn(struct store *store, const char *path, void *arg);

/* One change to do to every path that was given. */
struct change {
    const char *action; /* "remove" */
    change_fn *apply;
    void *arg;
    const struct fail_hint *hints; /* or NULL */
};

/* Do `change` to all paths in one transaction; the first failure drops it and is reported. */
enum status change_paths(struct cli *cli, const struct change *change, char **paths, int count);

#endif
