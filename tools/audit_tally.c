/*
 * See audit_tally.h.
 */
#include "audit_tally.h"

#include "audit_query.h"
#include "grow.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

static int by_reader(const void *a, const void *b)
{
    const struct tally_entry *x = a;
    const struct tally_entry *y = b;
    int order = strcmp(x->path, y->path);

    if (order == 0)
        order = strcmp(x->executable, y->executable);
    return order ? order : (x->uid > y->uid) - (x->uid < y->uid);
}

static void entry_free(struct tally_entry *entry)
{
    if (entry == NULL)
        return;
    free(entry->path);
    free(entry->executable);
    free(entry);
}

static bool keep(struct tally *tally, struct tally_entry *entry)
{
    struct tally_entry **entries =
        grow(tally->entries, tally->count, &tally->capacity, sizeof(struct tally_entry *));

    if (entries == NULL)
        return false;
    tally->entries = entries;
    if (tsearch(entry, &tally->tree, by_reader) == NULL)
        return false;
    tally->entries[tally->count++] = entry;
    return true;
}

/* NULL when out of memory. */
static struct tally_entry *make(const json_t *line, int64_t time_ns)
{
    const json_t *uid = json_object_get(line, "uid");
    struct tally_entry *made = calloc(1, sizeof *made);

    if (made == NULL)
        return NULL;
    made->path = strdup(audit_query_text(line, "path"));
    made->executable = strdup(audit_query_text(line, "executable"));
    made->uid = json_is_integer(uid) ? json_integer_value(uid) : -1;
    made->first_ns = time_ns;
    if (made->path && made->executable)
        return made;
    entry_free(made);
    return NULL;
}

/* The entry of the reader that the line tells of; NULL when out of memory. */
static struct tally_entry *find(struct tally *tally, const json_t *line, int64_t time_ns)
{
    struct tally_entry *made = make(line, time_ns);
    struct tally_entry *const *found = made ? tfind(made, &tally->tree, by_reader) : NULL;

    if (found == NULL && made && keep(tally, made))
        return made;
    entry_free(made);
    return found ? *found : NULL;
}

static size_t column_of(const struct tally *tally, int64_t time_ns)
{
    int64_t width_ns = (tally->end_ns - tally->begin_ns) / TALLY_COLUMNS + 1;
    int64_t column = (time_ns - tally->begin_ns) / width_ns;

    return column < 0 ? 0 : column >= TALLY_COLUMNS ? TALLY_COLUMNS - 1 : (size_t)column;
}

static bool is_read(const char *event)
{
    static const char *const reads[] = {"open", "get", "denied", "revoked", "expired", "integrity"};

    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        if (strcmp(event, reads[i]) == 0)
            return true;
    return false;
}

bool tally_add(struct tally *tally, const json_t *line, int64_t time_ns)
{
    const json_t *count = json_object_get(line, "count");
    uint64_t times = json_is_integer(count) ? (uint64_t)json_integer_value(count) : 1;

    if (!is_read(audit_query_text(line, "event")))
        return true;
    struct tally_entry *entry = find(tally, line, time_ns);
    if (entry == NULL)
        return false;
    if (audit_query_is_denied(line)) {
        entry->refused += times;
    } else {
        entry->reads += times;
        entry->columns[column_of(tally, time_ns)] += times;
    }
    entry->last_ns = time_ns;
    return true;
}

static int by_path_and_reads(const void *a, const void *b)
{
    const struct tally_entry *x = *(struct tally_entry *const *)a;
    const struct tally_entry *y = *(struct tally_entry *const *)b;
    int order = strcmp(x->path, y->path);

    if (order == 0)
        order = (x->reads < y->reads) - (x->reads > y->reads);
    return order ? order : by_reader(x, y);
}

void tally_sort(struct tally *tally)
{
    if (tally->count > 1)
        qsort(tally->entries, tally->count, sizeof(struct tally_entry *), by_path_and_reads);
}

bool tally_has_read(const struct tally *tally, const char *path)
{
    size_t low = 0;
    size_t high = tally->count;

    while (low < high) { /* the first of the path: it has the most reads */
        size_t middle = (low + high) / 2;
        if (strcmp(tally->entries[middle]->path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tally->count && strcmp(tally->entries[low]->path, path) == 0 &&
           tally->entries[low]->reads > 0;
}

static void leave(void *entry)
{
    (void)entry; /* it is in the list too */
}

void tally_release(struct tally *tally)
{
    tdestroy(tally->tree, leave);
    for (size_t i = 0; i < tally->count; i++)
        entry_free(tally->entries[i]);
    free(tally->entries);
    *tally = (struct tally){0};
}
