/*
 * See find.h.
 */
#include "find.h"

enum status find_secret(struct store *store, const struct task *task, const char *path,
                        struct store_attr *ret_attr, struct store_details *ret_details)
{
    enum store_err err = store_resolve(store, path, ret_attr);

    if (err == STORE_OK && ret_attr->kind == STORE_DIRECTORY)
        return fail_code(task, STORE_ERR_IS_DIRECTORY);
    if (err == STORE_OK)
        err = store_details(store, ret_attr->node, ret_details);
    return err == STORE_OK ? STATUS_DONE : fail_store(task, err);
}
