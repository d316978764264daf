/*
 * The index's order of expiries: whatever is set, changed, removed, noted and rewound, the next is
 * the one that a plain search finds.
 */
#include "helpers.h"
#include "index.h"

#include <stdio.h>
#include <string.h>

#define NODES 200
#define FIRST_ID 100

struct model {
    int64_t when_ns[NODES]; /* 0: never */
    bool noted[NODES];
};

static const struct multiset no_hash;

static void set_node(struct index *index, uint64_t id, enum store_kind kind, int64_t expires_ns)
{
    struct node_record r = {
        .id = id, .kind = kind, .parent = 16, .linked_ns = 1, .policy = policy_make(0, 0, 0400)};
    if (id == STORE_ROOT_ID)
        r.parent = 0;
    else
        r.name_len = (size_t)snprintf(r.name, sizeof r.name, "s%u", (unsigned)id);
    r.details.next_number = 1;
    r.details.expires_ns = expires_ns;
    assert_ok(index_set_node(index, &r, &no_hash));
    assert_ok(index_link(index));
}

static int64_t earliest(const struct model *m)
{
    int64_t found = INT64_MAX;
    for (size_t i = 0; i < NODES; i++)
        if (m->when_ns[i] && !m->noted[i] && m->when_ns[i] < found)
            found = m->when_ns[i];
    return found;
}

static void assert_agrees(const struct index *index, const struct model *m)
{
    int64_t next_ns;
    const struct index_node *n = index_next_to_expire(index, &next_ns);

    assert_int_equal(next_ns, earliest(m));
    if (next_ns == INT64_MAX) {
        assert_null(n);
        return;
    }
    assert_int_equal(m->when_ns[n->id - FIRST_ID], next_ns);
    assert_false(m->noted[n->id - FIRST_ID]);
    for (size_t i = 0; i < NODES; i++) {
        n = index_find_node(index, FIRST_ID + i);
        assert_int_equal(n ? index_expires(index, n) : 0, m->when_ns[i]);
    }
}

static void step(struct index *index, struct model *m, uint64_t *random)
{
    size_t i = next_random(random) % NODES;
    int64_t when_ns = 1 + next_random(random) % 50;
    int64_t next_ns;

    switch (next_random(random) % 16) {
    case 0:
        index_unlink_node(index, FIRST_ID + i);
        assert_ok(index_remove_node(index, FIRST_ID + i));
        m->when_ns[i] = 0;
        break;
    case 1:
        index_expire_again(index);
        memset(m->noted, 0, sizeof m->noted);
        break;
    case 2:
    case 3:
        set_node(index, FIRST_ID + i, STORE_SECRET, 0);
        m->when_ns[i] = 0;
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8: {
        const struct index_node *n = index_next_to_expire(index, &next_ns);
        if (n) {
            m->noted[n->id - FIRST_ID] = true;
            index_note_expired(index);
        }
        break;
    }
    default:
        set_node(index, FIRST_ID + i, STORE_SECRET, when_ns);
        m->noted[i] &= m->when_ns[i] == when_ns;
        m->when_ns[i] = when_ns;
        break;
    }
    if (m->when_ns[i] == 0)
        m->noted[i] = false;
}

static void test_any_order(void **state)
{
    (void)state;
    uint64_t random = 1;
    struct model m = {.noted = {false}};
    struct index *index = NULL;

    assert_ok(index_new(&index));
    set_node(index, STORE_ROOT_ID, STORE_DIRECTORY, 0);
    for (size_t i = 0; i < 20000; i++) {
        step(index, &m, &random);
        assert_agrees(index, &m);
    }
    index_free(index);
}

/* All of them come out in order, and once more after they were rewound. */
static void test_sorted(void **state)
{
    (void)state;
    struct index *index = NULL;
    uint64_t random = 7;

    assert_ok(index_new(&index));
    set_node(index, STORE_ROOT_ID, STORE_DIRECTORY, 0);
    for (uint64_t i = 0; i < 1000; i++)
        set_node(index, FIRST_ID + i, STORE_SECRET, 1 + next_random(&random));
    for (size_t round = 0; round < 2; round++) {
        int64_t before_ns = 0;
        int64_t next_ns;
        for (size_t i = 0; i < 1000; i++, before_ns = next_ns) {
            assert_non_null(index_next_to_expire(index, &next_ns));
            assert_true(next_ns >= before_ns);
            index_note_expired(index);
        }
        assert_null(index_next_to_expire(index, &next_ns));
        index_expire_again(index);
    }
    index_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_any_order),
        plain_test(test_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
