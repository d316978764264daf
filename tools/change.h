/*
 * The frame of every writing command: unlock, take the write lock, change, commit; all or nothing.
 *
 * What has to follow a commit (to wait for the live mounts, one day) belongs here, once for all.
 */
#ifndef TOOLS_CHANGE_H
#define TOOLS_CHANGE_H

#include "cli.h"

/* Unlock the store for writing unless that was done, and begin. Failures are reported. */
enum status change_begin(struct cli *cli, const struct task *task);

/* Make all of it durable. Failures are reported. */
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
