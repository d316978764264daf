/*
 * Steps on paths of the store that several commands need, inside the command's transaction.
 *
 * Prints nothing, and must not know which command it works for.
 */
#include "paths.h"

#include "auto.h"

#include <string.h>

/* What exists is left to store_mkdir() to tell: a secret in the way fails with the next component.
 */
enum store_err paths_make_parents(struct store *store, const char *path)
{
    AUTO_FREE char *clean = store_plain_path(path);
    enum store_err err = STORE_OK;

    if (!clean)
        return STORE_ERR_NO_MEMORY;
    for (char *slash = strchr(clean, '/'); slash && slash[1]; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        err = store_mkdir(store, clean);
        *slash = '/';
        if (err != STORE_OK && err != STORE_ERR_EXISTS)
            return err;
    }
    return STORE_OK;
}
