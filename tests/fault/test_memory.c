/*
 * Every allocation fails, each in turn, once, and every fifth for good, while a store is loaded,
 * read and changed: the caller hears of no memory or never notices, and nothing crashes, leaks or
 * is lost. The store's own allocations are wrapped by the linker, SQLite's by its configuration.
 */
#include "changes.h"
#include "disk.h"
#include "keyslot.h"
#include "scenario.h"

#include <errno.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- The allocators ----------------------------------------------------------------------------
 */

static bool counting;
static bool for_good;
static size_t failing; /* the number of the allocation that fails, from 1 */
static size_t counted;

static bool fails(void)
{
    if (!counting)
        return false;
    counted++;
    if (counted != failing && !(for_good && counted > failing))
        return false;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_realpath(const char *path, char *resolved);
void *__real_sodium_malloc(size_t size);
int __real_crypto_pwhash(unsigned char *out, unsigned long long out_len, const char *password,
                         unsigned long long password_len, const unsigned char *salt,
                         unsigned long long passes, size_t memory_bytes, int algorithm);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_realpath(const char *path, char *resolved);
__attribute__((format(printf, 2, 3))) int __wrap_asprintf(char **ret, const char *format, ...);
__attribute__((format(printf, 3, 4))) int __wrap___asprintf_chk(char **ret, int flag,
                                                                const char *format, ...);
void *__wrap_sodium_malloc(size_t size);
int __wrap_crypto_pwhash(unsigned char *out, unsigned long long out_len, const char *password,
                         unsigned long long password_len, const unsigned char *salt,
                         unsigned long long passes, size_t memory_bytes, int algorithm);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_realpath(const char *path, char *resolved)
{
    return fails() ? NULL : __real_realpath(path, resolved);
}

/* On failure *ret is undefined, as in asprintf(3). */
__attribute__((format(printf, 2, 0))) static int print(char **ret, const char *format, va_list args)
{
    *ret = (char *)-1;
    return fails() ? -1 : vasprintf(ret, format, args);
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = print(ret, format, args);
    va_end(args);
    return len;
}

int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
{
    va_list args;
    (void)flag;
    va_start(args, format);
    int len = print(ret, format, args);
    va_end(args);
    return len;
}

void *__wrap_sodium_malloc(size_t size)
{
    return fails() ? NULL : __real_sodium_malloc(size);
}

/* Argon2id takes much of it. */
int __wrap_crypto_pwhash(unsigned char *out, unsigned long long out_len, const char *password,
                         unsigned long long password_len, const unsigned char *salt,
                         unsigned long long passes, size_t memory_bytes, int algorithm)
{
    return fails() ? -1
                   : __real_crypto_pwhash(out, out_len, password, password_len, salt, passes,
                                          memory_bytes, algorithm);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *memory, int size)
{
    return fails() ? NULL : sqlite_memory.xRealloc(memory, size);
}

/* Without the memory that it keeps aside, SQLite asks for more. */
static void hook_sqlite(void)
{
    static sqlite3_mem_methods hooked;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    hooked = sqlite_memory;
    hooked.xMalloc = sqlite_malloc;
    hooked.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &hooked), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
}

/* ---- Failing each ------------------------------------------------------------------------------
 */

/* What is done with the open store; NULL: it is opened, and that fails. */
typedef enum store_err do_fn(const struct trial *trial, struct store *store,
                             bool *ret_acknowledged);

static size_t refused;
static size_t unnoticed;

/* With memory again, a store that is open goes on. */
static enum store_err run(const struct trial *trial, do_fn *act, bool *ret_acknowledged)
{
    struct store *s = NULL;
    counted = 0;
    counting = act == NULL;
    enum store_err err = trial_open(trial, &s);
    counting = act != NULL;
    if (act) {
        assert_ok(err);
        err = act(trial, s, ret_acknowledged);
        counting = false;
        if (err && !*ret_acknowledged)
            assert_ok(act(trial, s, ret_acknowledged));
    } else if (!err) {
        assert_ok(trial_change(trial, s, ret_acknowledged));
    }
    counting = act != NULL;
    store_close(s);
    counting = false;
    return err;
}

/* Returns whether there was an allocation to fail. */
static bool fail_one(const struct trial *trial, do_fn *act)
{
    bool acknowledged = false;
    size_t live = secbuf_live();
    sqlite3_int64 used = sqlite3_memory_used();

    enum store_err err = run(trial, act, &acknowledged);
    if (err != STORE_OK && err != STORE_ERR_NO_MEMORY)
        fail_msg("%s: allocation %zu fails%s: '%s', %s %s %s (errno %d, sqlite %d)",
                 trial->scenario->name, failing, for_good ? " for good" : "", store_strerror(err),
                 store_fault()->operation, store_fault()->object, store_fault()->reason,
                 store_fault()->sys_errno, store_fault()->sqlite_code);
    assert_int_equal(secbuf_live(), live);
    assert_int_equal(sqlite3_memory_used(), used);
    trial_check(trial, acknowledged);
    err ? refused++ : unnoticed++;
    return counted >= failing;
}

static void fail_each(struct fixture *f, const struct scenario *scenario, do_fn *act)
{
    struct trial trial;
    trial_begin(&trial, f, scenario);
    for (int once = 0; once < 2; once++) {
        for_good = !once;
        failing = 1;
        for (trial_restore(&trial); fail_one(&trial, act); trial_restore(&trial))
            failing += for_good ? 5 : 1; /* for good there is little that once does not show */
        assert_true(failing > 10);
    }
    trial_end(&trial);
}

static void test_load(void **state)
{
    fail_each(*state, &scenarios[0], NULL);
}

static void test_load_with_log(void **state)
{
    fail_each(*state, &scenarios[2], NULL);
}

static void test_put(void **state)
{
    fail_each(*state, &scenarios[0], trial_change);
}

static void test_rotation(void **state)
{
    fail_each(*state, &scenarios[2], trial_change);
}

static void test_purge(void **state)
{
    fail_each(*state, &scenarios[4], trial_change);
}

static void test_rekey(void **state)
{
    fail_each(*state, &scenarios[6], trial_change);
}

static enum store_err get(const struct trial *trial, struct store *s, bool *ret_acknowledged)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct store_attr attr;
    (void)trial;
    (void)ret_acknowledged;

    enum store_err err = store_resolve(s, "db/password", &attr);
    if (!err)
        err = store_read(s, attr.version, &value);
    return err ? err : store_check(s);
}

static void test_get(void **state)
{
    fail_each(*state, &scenarios[0], get);
}

/* A follower that ran out of memory while it applied what it had verified has to load again. */
static void test_follow(void **state)
{
    struct trial trial;
    bool missing = true;

    for_good = false;
    trial_begin(&trial, *state, &scenarios[0]);
    for (failing = 1; missing; failing++) {
        bool acknowledged;
        struct store *s = NULL;
        struct store_changes changes = STORE_CHANGES_INIT;
        trial_restore(&trial);
        assert_ok(trial_open(&trial, &s));
        assert_ok(trial_run(&trial, &acknowledged));
        counted = 0;
        counting = true;
        enum store_err err = store_refresh(s, &changes);
        counting = false;
        missing = counted >= failing;
        store_changes_release(&changes);
        if (err)
            assert_error(err, STORE_ERR_NO_MEMORY);
        if (err && store_refresh(s, NULL) != STORE_OK)
            assert_ok(store_load(s));
        assert_true(trial_shows(s, &trial.after));
        store_close(s);
        err ? refused++ : unnoticed++;
    }
    assert_true(failing > 10);
    trial_end(&trial);
}

static enum store_err wrap_and_unwrap(const struct store_credential *credential,
                                      const struct secbuf *root_key)
{
    static const unsigned char uuid[STORE_UUID_BYTES];
    const struct keyslot_cost cost = {.passes = 1, .memory_kib = 64};
    const struct store_new_slot new_slot = {.credential = *credential};
    SECBUF_AUTO struct secbuf opened = SECBUF_INIT;
    struct keyslot slot;

    enum store_err err = keyslot_wrap(uuid, 1, &new_slot, cost, root_key, &slot);
    return err ? err : keyslot_unwrap(uuid, 1, credential, &slot, &opened);
}

static void test_passphrase(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf secret = secret_filled(20, 1);
    SECBUF_AUTO struct secbuf root_key = secret_filled(STORE_KEY_BYTES, 2);
    const struct store_credential credential = {STORE_SLOT_PASSPHRASE, &secret};
    enum store_err err = STORE_ERR_NO_MEMORY;

    for_good = false;
    for (failing = 1; err; failing++) {
        size_t live = secbuf_live();
        counted = 0;
        counting = true;
        err = wrap_and_unwrap(&credential, &root_key);
        counting = false;
        if (err)
            assert_error(err, STORE_ERR_NO_MEMORY);
        assert_int_equal(secbuf_live(), live);
        refused += err != STORE_OK;
    }
    assert_true(failing > 5);
}

static void test_totals(void **state)
{
    (void)state;
    print_message("%zu failed allocations refused a command, %zu were none to it\n", refused,
                  unnoticed);
    assert_true(refused > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_load),   store_test(test_load_with_log), store_test(test_get),
        store_test(test_put),    store_test(test_rotation),      store_test(test_purge),
        store_test(test_rekey),  store_test(test_follow),        plain_test(test_passphrase),
        plain_test(test_totals),
    };
    hook_sqlite();
    disk_install(); /* which syncs nothing, and so is fast */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
