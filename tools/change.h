/*
 * The frame of every writing command: unlock, take the write lock, change, commit; all or nothing.
 *
 * What follows a commit is here too: to wait until each live mount shows it. And what goes with
 * each: the purge of what was removed long ago.
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
 *
 * In passing some of what was removed and whose recovery window is over is purged.
 */
enum status change_commit(struct cli *cli, const struct task *task);

/* Only wait, for what was committed before. Failures are reported. */
enum status change_confirm(struct cli *cli);

/* Purge all of that, in commits of their own, and empty the write-ahead log; the store is unlocked.
 * As change_commit() and change_compact(). */
enum status change_purge_due(struct cli *cli, const struct task *task);

/* Empty the write-ahead log, after what is called `done`: "purged". That readers keep it from being
 * done is no failure, but is said; change_commit() does it then, after the next change, as soon as
 * they are gone. */
enum status change_compact(struct cli *cli, const char *done);

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
