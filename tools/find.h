/*
 * Finding a secret by its path, with what people ask of it.
 */
#ifndef TOOLS_FIND_H
#define TOOLS_FIND_H

#include "fail.h"
#include "store.h"

/* The secret at `path`. Failures are reported, that it is a directory among them. */
enum status find_secret(struct store *store, const struct task *task, const char *path,
                        struct store_attr *ret_attr, struct store_details *ret_details);

#endif
