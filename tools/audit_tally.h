/*
 * Reads counted by secret and reader. Prints nothing.
 */
#ifndef TOOLS_AUDIT_TALLY_H
#define TOOLS_AUDIT_TALLY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TALLY_COLUMNS 24

/* A secret and one reader of it: a user and a program. */
struct tally_entry {
    char *path;
    int64_t uid; /* -1: not known */
    char *executable;
    uint64_t reads;
    uint64_t refused;
    int64_t first_ns; /* of reads and refusals */
    int64_t last_ns;
    uint64_t columns[TALLY_COLUMNS]; /* reads by time */
};

struct tally {
    void *tree; /* of tsearch(3) */
    struct tally_entry *
        *entries; /* all, in the order in which they were met; sorted by tally_sort() */
    size_t count;
    size_t capacity;
    int64_t begin_ns; /* of the columns */
    int64_t end_ns;
};

/* Count a line, if it is about a read. False when out of memory. */
bool tally_add(struct tally *tally, const json_t *line, int64_t time_ns);

/* By path, and of one path the most reads first. */
void tally_sort(struct tally *tally);

/* Whether anybody has read `path`. */
bool tally_has_read(const struct tally *tally, const char *path);

void tally_release(struct tally *tally);

#endif
