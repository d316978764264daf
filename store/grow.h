/*
 * Arrays that grow by doubling.
 */
#ifndef STORE_GROW_H
#define STORE_GROW_H

#include <stdlib.h>

/*
 * Make room for one more item. Returns the array, which may have moved, or NULL without memory;
 * then it is as before.
 * in/out: capacity  in items
 */
static inline void *grow(void *items, size_t count, size_t *capacity, size_t item_bytes)
{
    size_t more = *capacity ? 2 * *capacity : 16;

    if (count < *capacity)
        return items;
    void *grown = reallocarray(items, more, item_bytes);
    if (grown)
        *capacity = more;
    return grown;
}

#endif
