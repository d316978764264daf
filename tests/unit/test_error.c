/*
 * Faults: every code has words of its own, errno becomes the right code, threads don't share.
 */
#include "fault.h"
#include "helpers.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static void test_words(void **state)
{
    (void)state;
    for (int a = 0; a >= STORE_ERR_ANCHOR; a--) {
        assert_string_not_equal(store_strerror((enum store_err)a), "unknown error");
        for (int b = 0; b > a; b--)
            assert_string_not_equal(store_strerror((enum store_err)a),
                                    store_strerror((enum store_err)b));
    }
    assert_string_equal(store_strerror((enum store_err)(STORE_ERR_ANCHOR - 1)), "unknown error");
}

static void test_record(void **state)
{
    (void)state;
    const struct store_fault *f = store_fault();
    assert_error(fault(STORE_ERR_KEY, "unlock", "the store", NULL), STORE_ERR_KEY);
    assert_int_equal(f->code, STORE_ERR_KEY);
    assert_string_equal(f->operation, "unlock");
    assert_string_equal(f->object, "the store");
    assert_string_equal(f->reason, "");
    assert_error(fault(STORE_ERR_LIMIT, "make", NULL, "why"), STORE_ERR_LIMIT);
    assert_string_equal(f->object, "");
    assert_string_equal(f->reason, "why");
    assert_error(fault_row(STORE_ERR_INTEGRITY, "read", "node", UINT64_MAX, "bad"),
                 STORE_ERR_INTEGRITY);
    assert_string_equal(f->object, "node 18446744073709551615");
    assert_error(fault_recode(STORE_ERR_BUSY), STORE_ERR_BUSY);
    assert_int_equal(f->code, STORE_ERR_BUSY);
    assert_string_equal(f->reason, "bad");
    fault_note(STORE_ERR_BUSY, "begin", NULL, NULL, EAGAIN, 5);
    assert_int_equal(f->sqlite_code, 5);
    assert_int_equal(f->sys_errno, EAGAIN);
}

static void test_long_object(void **state)
{
    (void)state;
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_error(fault(STORE_ERR_IO, "read", name, NULL), STORE_ERR_IO);
    assert_int_equal(strlen(store_fault()->object), sizeof store_fault()->object - 1);
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int sys_errno;
        enum store_err code;
    } table[] = {
        {ENOENT, STORE_ERR_NO_STORE}, {EEXIST, STORE_ERR_EXISTS},    {EACCES, STORE_ERR_DENIED},
        {EPERM, STORE_ERR_DENIED},    {EROFS, STORE_ERR_DENIED},     {ENOSPC, STORE_ERR_NO_SPACE},
        {EDQUOT, STORE_ERR_NO_SPACE}, {ENOMEM, STORE_ERR_NO_MEMORY}, {EIO, STORE_ERR_IO},
        {EMFILE, STORE_ERR_IO},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_error(fault_errno(table[i].sys_errno, "open", "it"), table[i].code);
        assert_int_equal(store_fault()->sys_errno, table[i].sys_errno);
        assert_int_equal(store_fault()->code, table[i].code);
    }
}

static void *other_thread(void *arg)
{
    const struct store_fault *f = store_fault();
    *(bool *)arg = f->code == STORE_OK && strcmp(f->operation, "") == 0 &&
                   strcmp(f->reason, "") == 0 &&
                   fault(STORE_ERR_IO, "read", NULL, NULL) == STORE_ERR_IO;
    return NULL;
}

static void test_threads_have_their_own(void **state)
{
    (void)state;
    pthread_t thread;
    bool empty_at_first = false;

    assert_error(fault(STORE_ERR_KEY, "unlock", NULL, NULL), STORE_ERR_KEY);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &empty_at_first), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(empty_at_first);
    assert_int_equal(store_fault()->code, STORE_ERR_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_words),
        plain_test(test_record),
        plain_test(test_long_object),
        plain_test(test_errno),
        plain_test(test_threads_have_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
