/*
 * The rules of acl(5), against what setfacl(1), getfacl(1) and stat(1) show for the same steps on a
 * file.
 */
#include "helpers.h"

#include <string.h>

static struct policy with_entries(void)
{
    struct policy p = policy_make(10, 20, 0640);
    assert_ok(policy_set_entry(&p, POLICY_GROUP, 30, 5));
    assert_ok(policy_set_entry(&p, POLICY_USER, 1000, 6));
    assert_ok(policy_set_entry(&p, POLICY_USER, 5, 4));
    return p;
}

static void test_plain(void **state)
{
    (void)state;
    struct policy p = policy_make(10, 20, 0640);
    assert_true(policy_valid(&p));
    assert_false(p.extended);
    assert_int_equal(policy_group(&p), 4);
    policy_set_group(&p, 7);
    assert_int_equal(p.mode, 0670);
    assert_ok(policy_set_mode(&p, 0));
    assert_int_equal(p.mode, 0);
    assert_ok(policy_set_mode(&p, 0777));
    assert_error(policy_set_mode(&p, 01000), STORE_ERR_INVALID);
    assert_error(policy_set_mode(&p, 04755), STORE_ERR_INVALID);
    assert_int_equal(p.mode, 0777);
    policy_fit_mask(&p); /* nothing to fit */
    assert_int_equal(p.mode, 0777);
}

static void test_entries_stay_sorted(void **state)
{
    (void)state;
    struct policy p = with_entries();
    assert_true(p.extended);
    assert_int_equal(p.entry_count, 3);
    assert_int_equal(p.entries[0].id, 5);
    assert_int_equal(p.entries[1].id, 1000);
    assert_int_equal(p.entries[2].id, 30);
    assert_int_equal(p.entries[2].tag, POLICY_GROUP);
    assert_true(policy_valid(&p));
    assert_ok(policy_set_entry(&p, POLICY_USER, 1000, 0)); /* replaces */
    assert_int_equal(p.entry_count, 3);
    assert_int_equal(p.entries[1].perm, 0);
}

/* touch f; chmod 640 f; setfacl -m g:30:rx,u:1000:rw,u:5:r f  →  mask::rwx, stat says 0670 */
static void test_mask(void **state)
{
    (void)state;
    struct policy p = with_entries();
    assert_int_equal(p.mode, 0640); /* untouched until asked */
    policy_fit_mask(&p);
    assert_int_equal(p.mode, 0670);
    assert_int_equal(policy_group(&p), 4); /* group::r-- */
    assert_ok(policy_set_mode(&p, 0600));  /* chmod 600: mask::--- */
    assert_int_equal(p.mode, 0600);
    assert_int_equal(policy_group(&p), 4);
    policy_set_group(&p, 1); /* setfacl -n -m g::x */
    assert_int_equal(p.mode, 0600);
    assert_int_equal(policy_group(&p), 1);
    policy_set_mask(&p, 3);
    assert_int_equal(p.mode, 0630);
    assert_ok(policy_remove_entry(&p, POLICY_USER, 1000));
    assert_ok(policy_remove_entry(&p, POLICY_USER, 5));
    assert_ok(policy_remove_entry(&p, POLICY_GROUP, 30));
    policy_fit_mask(&p); /* setfacl -x of the last one: the mask is the group's then */
    assert_int_equal(p.mode, 0610);
    assert_true(p.extended);
    assert_true(policy_valid(&p));
}

/* A mask alone makes an extended ACL too: setfacl -m m::rx f */
static void test_mask_alone(void **state)
{
    (void)state;
    struct policy p = policy_make(0, 0, 0640);
    policy_set_mask(&p, 5);
    assert_true(p.extended);
    assert_int_equal(p.mode, 0650);
    assert_int_equal(policy_group(&p), 4);
    policy_clear_acl(&p);
    assert_false(p.extended);
    assert_int_equal(p.mode, 0640);
}

static void test_clear(void **state)
{
    (void)state;
    struct policy p = with_entries();
    struct policy plain = policy_make(10, 20, 0640);
    policy_fit_mask(&p);
    policy_clear_acl(&p);
    assert_true(policy_equal(&p, &plain));
    assert_memory_equal(p.entries, plain.entries, sizeof p.entries);
    policy_clear_acl(&p);
    assert_true(policy_equal(&p, &plain));
}

static void test_remove(void **state)
{
    (void)state;
    struct policy p = with_entries();
    assert_error(policy_remove_entry(&p, POLICY_USER, 30), STORE_ERR_NOT_FOUND);
    assert_error(policy_remove_entry(&p, POLICY_GROUP, 5), STORE_ERR_NOT_FOUND);
    assert_ok(policy_remove_entry(&p, POLICY_USER, 5));
    assert_error(policy_remove_entry(&p, POLICY_USER, 5), STORE_ERR_NOT_FOUND);
    assert_int_equal(p.entry_count, 2);
    assert_int_equal(p.entries[0].id, 1000);
    assert_true(policy_valid(&p));
}

static void test_limits(void **state)
{
    (void)state;
    struct policy p = policy_make(0, 0, 0400);
    assert_error(policy_set_entry(&p, POLICY_USER, 1, 8), STORE_ERR_INVALID);
    assert_error(policy_set_entry(&p, POLICY_USER, UINT32_MAX, 4), STORE_ERR_INVALID);
    assert_false(p.extended);
    for (uint32_t i = POLICY_ACL_MAX; i > 0; i--)
        assert_ok(policy_set_entry(&p, i % 2 ? POLICY_USER : POLICY_GROUP, i, i % 8));
    assert_int_equal(p.entry_count, POLICY_ACL_MAX);
    assert_true(policy_valid(&p));
    struct policy full = p;
    assert_error(policy_set_entry(&p, POLICY_USER, 4711, 4), STORE_ERR_LIMIT);
    assert_true(policy_equal(&p, &full));
    assert_ok(policy_set_entry(&p, POLICY_USER, 1, 0)); /* there already */
}

static void test_valid(void **state)
{
    (void)state;
    const struct policy good = with_entries();
    struct policy p = good;

#define refused(change)                 \
    do {                                \
        p = good;                       \
        change;                         \
        assert_false(policy_valid(&p)); \
    } while (0)
    refused(p.mode = 01000);
    refused(p.group_perm = 8);
    refused(p.entry_count = POLICY_ACL_MAX + 1);
    refused(p.uid = UINT32_MAX);
    refused(p.gid = UINT32_MAX);
    refused(p.extended = false);
    refused(p.entries[0].tag = 0);
    refused(p.entries[0].tag = 3);
    refused(p.entries[0].perm = 8);
    refused(p.entries[1].id = 5); /* twice */
    refused(p.entries[1].id = 4); /* out of order */
    refused(p.entries[2].id = UINT32_MAX);
    refused(p.entries[1].tag = POLICY_GROUP; p.entries[2].tag = POLICY_USER);
#undef refused
    p = policy_make(0, 0, 0);
    p.group_perm = 1;
    assert_false(policy_valid(&p));
}

static void test_equal(void **state)
{
    (void)state;
    const struct policy a = with_entries();
    struct policy b = a;

#define differs(change)                     \
    do {                                    \
        b = a;                              \
        change;                             \
        assert_false(policy_equal(&a, &b)); \
        assert_false(policy_equal(&b, &a)); \
    } while (0)
    assert_true(policy_equal(&a, &b));
    b.entries[3].id = 7; /* not in use */
    assert_true(policy_equal(&a, &b));
    differs(b.uid++);
    differs(b.gid++);
    differs(b.mode ^= 1);
    differs(b.group_perm ^= 1);
    differs(b.extended = false);
    differs(b.entry_count--);
    differs(b.entries[1].tag = POLICY_GROUP);
    differs(b.entries[1].id++);
    differs(b.entries[1].perm ^= 1);
#undef differs
}

/* As acl(5) says: the first class that somebody is in decides, and all of the group class does. */
static void test_permits(void **state)
{
    static const uint32_t groups[] = {7, 30};
    (void)state;
    struct policy p = policy_make(10, 20, 0640);
    assert_int_equal(policy_permits(&p, 10, 1, NULL, 0), 6);
    assert_int_equal(policy_permits(&p, 1, 20, NULL, 0), 4);
    assert_int_equal(policy_permits(&p, 1, 1, groups, 2), 0);
    p = policy_make(10, 30, 0604);
    assert_int_equal(policy_permits(&p, 1, 1, NULL, 0), 4);
    assert_int_equal(policy_permits(&p, 1, 1, groups, 1), 4);
    assert_int_equal(policy_permits(&p, 1, 1, groups, 2), 0); /* a member has less than others */
    p = policy_make(10, 30, 0070);
    assert_int_equal(policy_permits(&p, 10, 30, NULL, 0), 0);
    assert_int_equal(policy_permits(&p, 1, 1, groups, 2), 7);

    p = with_entries(); /* u:5:r, u:1000:rw, g:30:rx, the group has r */
    policy_set_mask(&p, 5);
    assert_int_equal(policy_permits(&p, 10, 1, NULL, 0), 6); /* no mask for the owner */
    assert_int_equal(policy_permits(&p, 1000, 30, NULL, 0), 4);
    assert_int_equal(policy_permits(&p, 1, 30, NULL, 0), 5);
    assert_int_equal(policy_permits(&p, 1, 20, groups, 2), 5);
    assert_int_equal(policy_permits(&p, 1, 20, NULL, 0), 4);
    assert_int_equal(policy_permits(&p, 1, 1, NULL, 0), 0);
    policy_set_mask(&p, 0);
    assert_ok(policy_set_mode(&p, 0604));
    assert_int_equal(policy_permits(&p, 1000, 1, NULL, 0), 0);
    assert_int_equal(policy_permits(&p, 1, 30, NULL, 0), 0);
    assert_int_equal(policy_permits(&p, 1, 1, NULL, 0), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_plain),  plain_test(test_entries_stay_sorted),
        plain_test(test_mask),   plain_test(test_mask_alone),
        plain_test(test_clear),  plain_test(test_remove),
        plain_test(test_limits), plain_test(test_valid),
        plain_test(test_equal),  plain_test(test_permits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
