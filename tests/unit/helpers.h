/*
 * What the unit tests share: errors that explain themselves, a temporary folder with a store in it,
 * raw SQL on the file behind the library's back, and the known-answer vectors.
 *
 * Every test runs between fixture_setup() or buffers_setup() and their teardown, which fails where
 * a secret buffer is still alive.
 */
#ifndef TESTS_HELPERS_H
#define TESTS_HELPERS_H

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "secmem.h"
#include "store.h"

#include <stdbool.h>

/* Fails with the fault of the library when `code` isn't the one expected. */
void check_error(enum store_err code, enum store_err expected, const char *what, const char *file,
                 int line);
#define assert_ok(call) check_error((call), STORE_OK, #call, __FILE__, __LINE__)
#define assert_error(call, expected) check_error((call), (expected), #call, __FILE__, __LINE__)

/* A temporary folder with a store of one key-file slot at `path`, its uuid all its own. */
struct fixture {
    char folder[64];
    char path[96];
    struct secbuf key;
    struct store_credential credential; /* the key */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
#define store_test(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

/* For tests without a store. */
int buffers_setup(void **state);
int buffers_teardown(void **state);
#define plain_test(f) cmocka_unit_test_setup_teardown(f, buffers_setup, buffers_teardown)

/* Opened, unlocked and loaded. */
struct store *open_store(const struct fixture *f, enum store_access access);
struct store *open_unlocked(const struct fixture *f, enum store_access access);
/* What opening, unlocking and loading the file comes to. */
enum store_err try_load(const struct fixture *f);

/* `len` bytes at `bytes` in a secbuf; caller releases. */
struct secbuf secret_of(const void *bytes, size_t len);
/* `len` bytes that follow from `seed`. */
struct secbuf secret_filled(size_t len, unsigned seed);

/* One operation in a transaction of its own; fails the test where it fails. */
uint32_t put_text(struct store *s, const char *path, const char *text);
void make_directory(struct store *s, const char *path);
void remove_path(struct store *s, const char *path);
void set_mode(struct store *s, const char *path, uint16_t mode);

struct store_attr resolve(struct store *s, const char *path);
void assert_value(struct store *s, const char *path, const void *bytes, size_t len);
void assert_text(struct store *s, const char *path, const char *text);

/* SQL on the file as an intruder would run it; `sql` may be several statements. */
void raw_sql(const struct fixture *f, const char *sql);
void raw_sql_format(const struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Copy a file, or put an older one back in its place, the way another process would. */
void copy_behind(const char *from, const char *to);

/* The vector `name` of tests/vectors/v1.txt; at most 2048 bytes, valid until the next call but
 * seven. */
const unsigned char *vector(const char *name, size_t *ret_len);

/* A small, fast generator, so that every run is the same. */
uint32_t next_random(uint64_t *state);

#endif
