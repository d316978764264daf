/*
 * Nodes of the store, collected and sorted, so that they can be printed or gone through outside the
 * store's lock. Prints nothing.
 */
#ifndef TOOLS_LISTING_H
#define TOOLS_LISTING_H

#include "store.h"

struct entry {
    char *path;
    size_t name_at; /* where its last component begins */
    struct store_attr attr;
    int64_t deleted_ns; /* 0: it is not deleted */
};

struct listing {
    struct entry *items;
    size_t count;
    size_t capacity;
};

#define LISTING_INIT \
    {                \
        NULL, 0, 0   \
    }
#define LISTING_AUTO __attribute__((cleanup(listing_release)))

void listing_release(struct listing *listing);

/* Add one node. `path` is copied. errors: NO_MEMORY */
STORE_CHECKED enum store_err listing_add(struct listing *listing, const char *path,
                                         const struct store_attr *attr);

/*
 * Add what is in the directory `path` with the id `directory`, in byte order of the names; with
 * `recursive`, all below it too, each directory before what is in it.
 * errors: NO_MEMORY, and those of store_list()
 */
STORE_CHECKED enum store_err listing_directory(struct store *store, const char *path,
                                               uint64_t directory, bool recursive,
                                               struct listing *listing);

/*
 * Add the deleted nodes that were at or below `path` ("/": all), in the order of their paths, then
 * of their deletion. errors: NO_MEMORY, and those of store_list_deleted()
 */
STORE_CHECKED enum store_err listing_deleted(struct store *store, const char *path,
                                             struct listing *listing);

#endif
