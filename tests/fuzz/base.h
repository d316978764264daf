/*
 * Two states of one store, kept in stores/, for the targets that doctor its file: a.db, and what
 * became of it, b.db. Whatever is done to the file, it shows one of them, or is refused.
 */
#ifndef TESTS_FUZZ_BASE_H
#define TESTS_FUZZ_BASE_H

#include "fuzz.h"
#include "store.h"

struct base_file {
    unsigned char *bytes;
    size_t len;
};

/* Read once; they live until the end. */
const struct base_file *base_a(void);
const struct base_file *base_b(void);

/* Write a file `name` into a folder in memory that goes with the program. Returns its path, which
 * lives as long; a log of that file is removed. */
const char *base_write(const char *name, const unsigned char *bytes, size_t len);

/* Open, unlock with the key of both, load. *ret_store is NULL on failure. */
STORE_CHECKED enum store_err base_open(const char *path, struct store **ret_store);

/* What the store shows is state A or state B, by its generation; a value may be refused. */
void base_check(struct store *store);

#endif
