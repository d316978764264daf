/*
 * Collecting nodes. The store's visits run under its lock and must not call back, so directories
 * are collected one by one, and what was found is sorted once at the end.
 *
 * Prints nothing.
 */
#include "listing.h"

#include "auto.h"
#include "grow.h"

#include <string.h>

/* A visit in progress: where what it finds goes, below which path. */
struct collector {
    struct listing *listing;
    const char *prefix;
    enum store_err err;
};

void listing_release(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->items[i].path);
    free(listing->items);
    *listing = (struct listing)LISTING_INIT;
}

/* Takes `path` over, also on failure. */
static enum store_err append(struct listing *listing, char *path, const struct store_attr *attr,
                             int64_t deleted_ns)
{
    const char *slash;
    struct entry *items =
        path ? grow(listing->items, listing->count, &listing->capacity, sizeof(*items)) : NULL;

    if (!items) {
        free(path);
        return STORE_ERR_NO_MEMORY;
    }
    listing->items = items;
    slash = strrchr(path, '/');
    listing->items[listing->count++] =
        (struct entry){path, slash && slash[1] ? (size_t)(slash - path) + 1 : 0, *attr, deleted_ns};
    return STORE_OK;
}

enum store_err listing_add(struct listing *listing, const char *path, const struct store_attr *attr)
{
    return append(listing, strdup(path), attr, 0);
}

static bool collect(void *arg, const char *name, const struct store_attr *attr)
{
    struct collector *collector = arg;
    char *path = NULL;

    if (strcmp(collector->prefix, "/") == 0)
        path = strdup(name);
    else if (asprintf(&path, "%s/%s", collector->prefix, name) < 0)
        path = NULL;
    collector->err = append(collector->listing, path, attr, 0);
    return collector->err == STORE_OK;
}

static enum store_err collect_one(struct store *store, const char *prefix, uint64_t directory,
                                  struct listing *listing)
{
    struct collector collector = {listing, prefix, STORE_OK};
    enum store_err err = store_list(store, directory, 0, collect, &collector);

    return err == STORE_OK ? collector.err : err;
}

/* By bytes, with the slash before all others: what is in a directory follows it at once. */
static int compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    if (*a == *b)
        return 0;
    if (*a == '\0' || *b == '\0')
        return *a == '\0' ? -1 : 1;
    if (*a == '/' || *b == '/')
        return *a == '/' ? -1 : 1;
    return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    int order = compare_paths(left->path, right->path);

    if (order != 0 || left->deleted_ns == right->deleted_ns)
        return order;
    return left->deleted_ns < right->deleted_ns ? -1 : 1;
}

static void sort_from(struct listing *listing, size_t first)
{
    if (listing->count > first)
        qsort(listing->items + first, listing->count - first, sizeof(*listing->items),
              compare_entries);
}

enum store_err listing_directory(struct store *store, const char *path, uint64_t directory,
                                 bool recursive, struct listing *listing)
{
    size_t first = listing->count;
    enum store_err err = collect_one(store, path, directory, listing);

    /* What is appended on the way is gone through as well; the items may move, their paths don't.
     */
    for (size_t i = first; recursive && err == STORE_OK && i < listing->count; i++) {
        const struct entry *entry = &listing->items[i];
        if (entry->attr.kind == STORE_DIRECTORY)
            err = collect_one(store, entry->path, entry->attr.node, listing);
    }
    sort_from(listing, first);
    return err;
}

static bool is_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    if (strcmp(top, "/") == 0)
        return true;
    return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool collect_deleted(void *arg, const char *path, const struct store_attr *attr,
                            int64_t deleted_ns)
{
    struct collector *collector = arg;

    while (*path == '/')
        path++;
    if (is_below(path, collector->prefix))
        collector->err = append(collector->listing, strdup(path), attr, deleted_ns);
    return collector->err == STORE_OK;
}

enum store_err listing_deleted(struct store *store, const char *path, struct listing *listing)
{
    size_t first = listing->count;
    struct collector collector = {listing, path, STORE_OK};
    enum store_err err = store_list_deleted(store, collect_deleted, &collector);

    sort_from(listing, first);
    return err == STORE_OK ? collector.err : err;
}
