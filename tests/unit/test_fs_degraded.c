/*
 * What the supervisor tells of a worker that does not follow its store.
 */
#include "degraded.h"
#include "fault.h"
#include "helpers.h"

#include <string.h>
#include <time.h>

static time_t now_s = 1000;

time_t __wrap_time(time_t *ret_time);
time_t __wrap_time(time_t *ret_time)
{
    if (ret_time)
        *ret_time = now_s;
    return now_s;
}

/* Too large for a stack. */
static struct kept kept;

static struct control_reply tell(void)
{
    struct control_reply reply = {.degraded = STORE_OK};
    degraded_tell(&kept, &reply);
    return reply;
}

static void test_begins_and_ends(void **state)
{
    (void)state;
    assert_int_equal(tell().degraded, STORE_OK);
    degraded_note(&kept, STORE_OK);
    assert_int_equal(tell().degraded_since_s, 0);

    degraded_note(&kept, fault_row(STORE_ERR_INTEGRITY, "open", "node", 17, "its seal is broken"));
    struct control_reply reply = tell();
    assert_int_equal(reply.degraded, STORE_ERR_INTEGRITY);
    assert_int_equal(reply.degraded_since_s, 1000);
    assert_string_equal(reply.degraded_why, "the store is damaged or was tampered with (node 17: "
                                            "its seal is broken)");
    now_s = 2000;
    degraded_note(&kept, fault_errno(5, "read", "the store"));
    reply = tell();
    assert_int_equal(reply.degraded, STORE_ERR_IO);
    assert_int_equal(reply.degraded_since_s, 1000); /* not well since then */
    assert_string_equal(reply.degraded_why, "input/output error (the store: Input/output error)");
    degraded_note(&kept, STORE_OK);
    assert_int_equal(tell().degraded, STORE_OK);
    degraded_note(&kept, fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL));
    assert_int_equal(tell().degraded_since_s, 2000);
    assert_string_equal(tell().degraded_why, "out of memory");
    degraded_note(&kept, STORE_OK);
}

/* Nothing is wrong with a store that is locked, nor is all well with a bad one meanwhile. */
static void test_locked(void **state)
{
    (void)state;
    degraded_note(&kept, STORE_ERR_BUSY);
    assert_int_equal(tell().degraded, STORE_OK);
    degraded_note(&kept, fault(STORE_ERR_INTEGRITY, "verify", "rows", "a row was exchanged"));
    degraded_note(&kept, STORE_ERR_BUSY);
    assert_int_equal(tell().degraded, STORE_ERR_INTEGRITY);
    degraded_note(&kept, STORE_OK);
}

/* A worker that was taken over may write what it likes. */
static void test_words_are_made_printable(void **state)
{
    (void)state;
    degraded_note(&kept, fault(STORE_ERR_INTEGRITY, "open", "a\nb\x1b[2J\xff", "is no table"));
    struct control_reply reply = tell();
    assert_string_equal(reply.degraded_why,
                        "the store is damaged or was tampered with (a?b?[2J?: is no table)");
    memset(kept.degraded.why, 'x', sizeof kept.degraded.why);
    reply = tell();
    assert_int_equal(strlen(reply.degraded_why), CONTROL_WHY_BYTES - 1);
    kept.degraded.code = 12345;
    assert_int_equal(tell().degraded, 12345);
    degraded_note(&kept, STORE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_begins_and_ends),
        plain_test(test_locked),
        plain_test(test_words_are_made_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
