/*
 * From a path to nodes of the index.
 */
#include "fault.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* The next component at *at, which moves behind it; its length, 0 at the end. */
static size_t component(const char **at, const char **ret_name)
{
    *at += strspn(*at, "/");
    *ret_name = *at;
    size_t len = strcspn(*at, "/");
    *at += len;
    return len;
}

enum store_err path_find(const struct index *index, const char *path,
                         const struct index_node **ret_parent, const char **ret_name,
                         size_t *ret_name_len, const struct index_node **ret_node)
{
    const struct index_node *parent = NULL;
    const struct index_node *node = index_root(index);
    const char *name = path;
    const char *part;
    size_t name_len = 0;
    size_t len;

    while ((len = component(&path, &part)) > 0) {
        if (node == NULL)
            return fault(STORE_ERR_NOT_FOUND, "find", "the path", NULL);
        if (node->kind != STORE_DIRECTORY)
            return fault(STORE_ERR_NOT_DIRECTORY, "find", "the path", NULL);
        if (!record_name_valid(part, len, node->id == STORE_ROOT_ID))
            return fault(STORE_ERR_NAME, "find", "the path", NULL);
        parent = node;
        name = part;
        name_len = len;
        node = index_find_child(index, parent, name, name_len);
    }
    *ret_parent = parent;
    *ret_name = name;
    *ret_name_len = name_len;
    *ret_node = node;
    return STORE_OK;
}

const char *path_of(const struct index *index, const struct index_node *n,
                    char path[STORE_PATH_MAX])
{
    size_t at = STORE_PATH_MAX - 1;
    path[at] = '\0';
    for (; n && n->id != STORE_ROOT_ID && at > n->name_len;
         n = index_find_node(index, n->parent_id)) {
        if (path[at] != '\0')
            path[--at] = '/';
        at -= n->name_len;
        memcpy(path + at, index_name(index, n), n->name_len);
    }
    return path + at;
}

char *store_plain_path(const char *path)
{
    char *clean = malloc(strlen(path) + 2);
    char *out = clean;

    if (!clean)
        return NULL;
    for (const char *s = path; *s; s++) {
        if (*s != '/')
            *out++ = *s;
        else if (out > clean && out[-1] != '/')
            *out++ = '/';
    }
    if (out > clean && out[-1] == '/')
        out--;
    if (out == clean)
        *out++ = '/';
    *out = '\0';
    return clean;
}
