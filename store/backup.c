/*
 * Copies of a store. What is sealed stays sealed, so a copy takes no key; to verify it does.
 */
#include "fault.h"
#include "state.h"

/* Load the copy with the keys of `store`, and decrypt every value in it. */
static enum store_err verify(const struct store *store, const char *path)
{
    struct store *copy = NULL;
    enum store_err err = store_open(path, STORE_READ_ONLY, &copy);

    if (err)
        return err;
    copy->keys = store->keys; /* lent: they are wiped once, by their owner */
    store_set_progress(copy, store->progress, store->progress_arg);
    err = store_load(copy);
    if (!err)
        err = store_check(copy);
    copy->keys = (struct seal_keys){0};
    store_close(copy);
    return err;
}

static void tell_pages(void *arg, uint64_t done, uint64_t total)
{
    progress_tell(arg, STORE_WORK_COPY, done, total);
}

enum store_err store_backup(struct store *store, const char *path)
{
    struct slots slots;

    pthread_mutex_lock(&store->db_lock);
    enum store_err err = db_begin_read(store->db);
    if (!err) /* with the first that is read the state is settled, not with each step of the copy */
        err = slots_read(store, &slots);
    if (!err)
        err = db_backup(store->db, path, tell_pages, store);
    db_end(store->db);
    progress_over(store, STORE_WORK_COPY);
    pthread_mutex_unlock(&store->db_lock);
    if (!err && store->keys.keys.data)
        err = verify(store, path);
    return err;
}
