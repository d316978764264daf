/*
 * The index: what it refuses to link, how much memory it may take, and that after any sequence of
 * updates it says what a simple model says. realloc() is watched, the only function by which the
 * arrays and the arena grow.
 */
#include "helpers.h"
#include "index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static size_t largest;

void *__wrap_realloc(void *memory, size_t size)
{
    largest = size > largest ? size : largest;
    return __real_realloc(memory, size);
}

/* ---- Small trees --------------------------------------------------------------------------------
 */

static struct node_record record_of(uint64_t id, enum store_kind kind, uint64_t parent,
                                    const char *name)
{
    struct node_record r = {.id = id,
                            .kind = kind,
                            .parent = parent,
                            .created_ns = (int64_t)id,
                            .changed_ns = (int64_t)id,
                            .linked_ns = (int64_t)id,
                            .mtime_ns = kind == STORE_DIRECTORY ? (int64_t)id : 0,
                            .policy = policy_make(0, 0, 0755)};
    r.name_len = strlen(name);
    memcpy(r.name, name, r.name_len);
    r.details.next_number = 1;
    return r;
}

static void list_version(struct node_record *r, uint64_t id)
{
    struct store_details *d = &r->details;
    d->versions[d->version_count++] = (struct store_version){id, d->next_number++, 10, 0, 0};
    d->previous = d->current;
    d->current = id;
}

static const struct multiset no_hash;

static enum store_err set(struct index *index, uint64_t id, enum store_kind kind, uint64_t parent,
                          const char *name)
{
    struct node_record r = record_of(id, kind, parent, name);
    return index_set_node(index, &r, &no_hash);
}

/* An index of the root alone. */
static struct index *new_index(void)
{
    struct index *index = NULL;
    assert_ok(index_new(&index));
    assert_ok(set(index, STORE_ROOT_ID, STORE_DIRECTORY, 0, ""));
    assert_ok(index_link(index));
    return index;
}

static void test_empty(void **state)
{
    (void)state;
    struct index *index = NULL;
    assert_ok(index_new(&index));
    assert_null(index_root(index));
    assert_null(index_find_node(index, 17));
    assert_null(index_find_version(index, 17));
    assert_error(index_link(index), STORE_ERR_INTEGRITY); /* no root */
    assert_ok(index_remove_node(index, 17));
    index_unlink_node(index, 17);
    index_free(index);
    index_free(NULL);
}

static void test_refuses_bad_parents(void **state)
{
    (void)state;
    struct index *index = new_index();
    assert_ok(set(index, 17, STORE_DIRECTORY, 99, "a")); /* missing */
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);

    index = new_index();
    assert_ok(set(index, 17, STORE_SECRET, 16, "a"));
    assert_ok(set(index, 18, STORE_SECRET, 17, "b")); /* in a secret */
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);

    index = new_index();
    struct node_record deleted = record_of(17, STORE_DIRECTORY, 16, "a");
    deleted.deleted_ns = 5;
    assert_ok(index_set_node(index, &deleted, &no_hash));
    assert_ok(index_link(index));
    assert_ok(set(index, 18, STORE_SECRET, 17, "b")); /* in a deleted directory */
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);
}

static void test_refuses_a_name_twice(void **state)
{
    (void)state;
    struct index *index = new_index();
    assert_ok(set(index, 17, STORE_DIRECTORY, 16, "a"));
    assert_ok(set(index, 18, STORE_SECRET, 16, "b"));
    assert_ok(index_link(index));
    assert_ok(set(index, 19, STORE_SECRET, 16, "a"));
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);
}

static void test_refuses_cycles(void **state)
{
    (void)state;
    struct index *index = new_index();
    assert_ok(set(index, 17, STORE_DIRECTORY, 18, "a"));
    assert_ok(set(index, 18, STORE_DIRECTORY, 17, "b"));
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);

    index = new_index();
    assert_ok(set(index, 17, STORE_DIRECTORY, 17, "a"));
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);

    index = new_index(); /* a directory below its own entry, later */
    assert_ok(set(index, 17, STORE_DIRECTORY, 16, "a"));
    assert_ok(set(index, 18, STORE_DIRECTORY, 17, "b"));
    assert_ok(index_link(index));
    assert_ok(set(index, 17, STORE_DIRECTORY, 18, "a"));
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);
}

static void test_depth(void **state)
{
    (void)state;
    struct index *index = new_index();
    for (uint64_t id = 17; id < 17 + STORE_DEPTH_MAX; id++)
        assert_ok(set(index, id, STORE_DIRECTORY, id - 1, "d"));
    assert_ok(index_link(index));
    for (uint64_t id = 16; id < 17 + STORE_DEPTH_MAX; id++)
        assert_int_equal(index_depth(index, index_find_node(index, id)), id - 16);
    assert_ok(set(index, 17 + STORE_DEPTH_MAX, STORE_SECRET, 16 + STORE_DEPTH_MAX, "s"));
    assert_error(index_link(index), STORE_ERR_INTEGRITY);
    index_free(index);
}

static void test_refuses_bad_versions(void **state)
{
    (void)state;
    struct multiset hash = {{1, 2}};
    struct index *index = new_index();
    struct node_record a = record_of(17, STORE_SECRET, 16, "a");
    struct node_record b = record_of(18, STORE_SECRET, 16, "b");
    list_version(&a, 20);
    list_version(&b, 20);
    assert_ok(index_set_node(index, &a, &no_hash));
    assert_error(index_set_version_row(index, 21, &hash), STORE_ERR_INTEGRITY); /* not listed */
    assert_error(index_set_version_row(index, 17, &hash), STORE_ERR_INTEGRITY); /* a node */
    assert_ok(index_set_version_row(index, 20, &hash));
    assert_error(index_set_version_row(index, 20, &hash), STORE_ERR_INTEGRITY); /* twice */
    assert_ok(index_link(index));
    assert_error(index_set_node(index, &b, &no_hash), STORE_ERR_INTEGRITY); /* of two secrets */
    index_free(index);

    index = new_index();
    assert_ok(index_set_node(index, &a, &no_hash));
    assert_error(index_link(index), STORE_ERR_INTEGRITY); /* no row */
    index_free(index);

    index = new_index();
    a.details.versions[0].id = a.details.current = STORE_ROOT_ID; /* a node has the id */
    assert_error(index_set_node(index, &a, &no_hash), STORE_ERR_INTEGRITY);
    index_free(index);
}

static void test_refuses_another_meaning_of_an_id(void **state)
{
    (void)state;
    struct multiset hash = {{1, 2}};
    struct index *index = new_index();
    struct node_record a = record_of(17, STORE_SECRET, 16, "a");
    list_version(&a, 20);
    assert_ok(index_set_node(index, &a, &no_hash));
    assert_ok(index_set_version_row(index, 20, &hash));
    assert_ok(index_link(index));
    assert_error(set(index, 20, STORE_DIRECTORY, 16, "b"), STORE_ERR_INTEGRITY);
    assert_error(set(index, 17, STORE_DIRECTORY, 16, "a"), STORE_ERR_INTEGRITY);
    index_free(index);
}

/* Rows come in any order: two names exchanged, a directory and its entry removed and made. */
static void test_one_update_in_any_order(void **state)
{
    (void)state;
    struct index *index = new_index();
    assert_ok(set(index, 20, STORE_SECRET, 19, "s")); /* before its directory */
    assert_ok(set(index, 18, STORE_SECRET, 16, "b"));
    assert_ok(set(index, 17, STORE_SECRET, 16, "a"));
    assert_ok(set(index, 19, STORE_DIRECTORY, 16, "d"));
    assert_ok(index_link(index));
    assert_ok(set(index, 17, STORE_SECRET, 16, "b"));
    assert_ok(set(index, 18, STORE_SECRET, 16, "a"));
    index_unlink_node(index, 19);
    assert_error(index_remove_node(index, 19), STORE_ERR_INTEGRITY); /* it is not empty */
    index_unlink_node(index, 20);
    assert_ok(index_remove_node(index, 19));
    assert_ok(index_remove_node(index, 20));
    assert_ok(set(index, 21, STORE_DIRECTORY, 16, "d"));
    assert_ok(index_link(index));
    const struct index_node *root = index_root(index);
    assert_int_equal(index_find_child(index, root, "a", 1)->id, 18);
    assert_int_equal(index_find_child(index, root, "b", 1)->id, 17);
    assert_int_equal(index_find_child(index, root, "d", 1)->id, 21);
    assert_null(index_find_child(index, root, "s", 1));
    assert_int_equal(root->directory.subdirs, 1);
    assert_int_equal(index_rows(index, TABLE_NODE), 4);
    index_free(index);
}

/* A directory's time follows its entries: made, moved in, removed. */
static void test_directory_times(void **state)
{
    (void)state;
    struct index *index = new_index();
    struct node_record r = record_of(17, STORE_SECRET, 16, "a");
    r.linked_ns = 1000;
    assert_ok(index_set_node(index, &r, &no_hash));
    assert_ok(index_link(index));
    assert_int_equal(index_root(index)->directory.mtime_ns, 1000);
    r.linked_ns = 900;
    assert_ok(index_set_node(index, &r, &no_hash));
    assert_ok(index_link(index));
    assert_int_equal(index_root(index)->directory.mtime_ns, 1000);
    r.deleted_ns = 1100;
    assert_ok(index_set_node(index, &r, &no_hash));
    assert_ok(index_link(index));
    assert_int_equal(index_root(index)->directory.mtime_ns, 1100);
    index_free(index);
}

/* ---- Memory ------------------------------------------------------------------------------------
 */

static void test_memory_is_used_again(void **state)
{
    (void)state;
    struct index *index = new_index();
    uint64_t next = 1000;

    largest = 0;
    for (unsigned i = 0; i < 10000; i++) {
        /* The longest name and the longest ACL, changed; a version more, and one less. */
        struct node_record r = record_of(17 + i % 10, STORE_SECRET, 16, "");
        r.name_len = STORE_NAME_MAX;
        memset(r.name, 'x', STORE_NAME_MAX);
        memcpy(r.name, &(char[]){'a' + (char)(i % 10)}, 1);
        for (uint32_t e = 0; e < POLICY_ACL_MAX; e++)
            assert_ok(policy_set_entry(&r.policy, POLICY_USER, e, i % 8));
        list_version(&r, next);
        assert_ok(index_set_node(index, &r, &no_hash));
        assert_ok(index_set_version_row(index, next++, &no_hash));
        /* And a node that comes and goes. */
        assert_ok(set(index, next, STORE_DIRECTORY, 16, "comes and goes"));
        assert_ok(index_link(index));
        assert_ok(index_remove_node(index, next++));
    }
    assert_in_range(index_node_slots(index), 12, 14);
    assert_int_equal(index_rows(index, TABLE_NODE), 11);
    assert_int_equal(index_rows(index, TABLE_VERSION), 10);
    assert_in_range(largest, 1, 256 * 1024); /* all 10,000 together were 10 MB */
    index_free(index);
}

/* ---- A model -----------------------------------------------------------------------------------
 */

#define MODEL_MAX 150

/* What is expected of each id from 16 on; kind 0 where there is nothing (any more). */
struct model {
    struct node_record nodes[MODEL_MAX];
    struct multiset hashes[MODEL_MAX];
    struct multiset version_hash; /* one for all */
    unsigned updated[MODEL_MAX];  /* the update that changed it last: a row comes once in each */
    unsigned update;
    uint64_t next_version;
    uint64_t random;
};

static unsigned choose(struct model *m, unsigned below)
{
    return next_random(&m->random) % below;
}

static struct node_record *node_of(struct model *m, uint64_t id)
{
    return &m->nodes[id - STORE_ROOT_ID];
}

static struct node_record *find_in_model(struct model *m, uint64_t parent, const char *name)
{
    for (unsigned i = 1; i < MODEL_MAX; i++) {
        struct node_record *n = &m->nodes[i];
        if (n->kind && !n->deleted_ns && n->parent == parent && strcmp(n->name, name) == 0)
            return n;
    }
    return NULL;
}

static bool has_entries(struct model *m, const struct node_record *n, bool deleted_too)
{
    for (unsigned i = 1; i < MODEL_MAX; i++)
        if (m->nodes[i].kind && m->nodes[i].parent == n->id &&
            (deleted_too || !m->nodes[i].deleted_ns))
            return true;
    return false;
}

/* A directory of the tree at most 8 deep that is not below `not_below`; NULL if chance says so. */
static struct node_record *some_directory(struct model *m, uint64_t not_below)
{
    struct node_record *n = choose(m, 4) ? &m->nodes[choose(m, MODEL_MAX)] : &m->nodes[0];
    unsigned depth = 0;
    if (n->kind != STORE_DIRECTORY || n->deleted_ns)
        return NULL;
    for (struct node_record *up = n; up->id != STORE_ROOT_ID; up = node_of(m, up->parent))
        if (++depth > 8 || up->id == not_below)
            return NULL;
    return n->id == not_below ? NULL : n;
}

static void rename_node(struct model *m, struct node_record *n)
{
    char name[8];
    struct node_record *to = some_directory(m, n->id);
    snprintf(name, sizeof name, "n%u", choose(m, 40));
    if (to == NULL || find_in_model(m, to->id, name))
        return;
    n->parent = to->id;
    memset(n->name, 0, sizeof n->name);
    strcpy(n->name, name);
    n->name_len = strlen(name);
}

/* Change one node of the model at random; false where that was impossible. */
static bool change_model(struct model *m, struct node_record *n, uint64_t id)
{
    unsigned what = choose(m, 10);
    if (n->kind == 0) {
        if (what < 5)
            return false;
        *n = record_of(id, choose(m, 3) ? STORE_SECRET : STORE_DIRECTORY, 0, "");
        rename_node(m, n);
        if (n->parent == 0)
            n->kind = (enum store_kind)0;
        return n->kind != 0;
    }
    if (n->deleted_ns) {
        if (what < 5 || node_of(m, n->parent)->deleted_ns || find_in_model(m, n->parent, n->name))
            return false;
        n->deleted_ns = 0;
    } else if (what < 4) {
        rename_node(m, n);
    } else if (what < 6 && !has_entries(m, n, false)) {
        n->deleted_ns = 7;
    } else if (what < 8 && n->kind == STORE_SECRET) {
        struct store_details *d = &n->details;
        if (d->version_count == 4) { /* the oldest goes */
            d->pending = d->pending == d->versions[0].id ? 0 : d->pending;
            memmove(d->versions, d->versions + 1, --d->version_count * sizeof d->versions[0]);
        }
        list_version(n, m->next_version++);
    } else if (what == 8 && n->details.version_count > 1) {
        n->details.pending = choose(m, 2) ? n->details.versions[0].id : 0;
    } else {
        return policy_set_entry(&n->policy, POLICY_USER, choose(m, 20), 5) == STORE_OK;
    }
    return true;
}

static void change_both(struct model *m, struct index *index)
{
    uint64_t id = STORE_ROOT_ID + 1 + choose(m, MODEL_MAX - 1);
    struct node_record *n = node_of(m, id);
    struct multiset *hash = &m->hashes[id - STORE_ROOT_ID];
    uint64_t before = m->next_version;

    if (m->updated[id - STORE_ROOT_ID] == m->update)
        return;
    m->updated[id - STORE_ROOT_ID] = m->update;
    if (n->kind && n->deleted_ns && choose(m, 2) && !has_entries(m, n, true)) {
        index_unlink_node(index, id);
        assert_ok(index_remove_node(index, id));
        n->kind = (enum store_kind)0;
    } else if (change_model(m, n, id)) {
        *hash = (struct multiset){{next_random(&m->random), next_random(&m->random)}};
        assert_ok(index_set_node(index, n, hash));
        if (m->next_version != before)
            assert_ok(index_set_version_row(index, before, &m->version_hash));
    }
}

static void compare_entries(struct model *m, const struct index *index,
                            const struct index_node *found)
{
    uint64_t last = 0;
    uint32_t subdirs = 0;
    unsigned listed = 0;
    unsigned expected = 0;
    const struct index_node *c = index_node_at(index, index_first_child(found));
    for (; c; c = index_node_at(index, c->next)) {
        assert_true(c->id > last);
        last = c->id;
        assert_int_equal(node_of(m, c->id)->parent, found->id);
        subdirs += c->kind == STORE_DIRECTORY;
        listed++;
    }
    for (unsigned i = 1; i < MODEL_MAX; i++)
        expected += m->nodes[i].kind && !m->nodes[i].deleted_ns && m->nodes[i].parent == found->id;
    assert_int_equal(listed, expected);
    assert_int_equal(found->kind == STORE_DIRECTORY ? found->directory.subdirs : 0, subdirs);
}

static void compare_label(const struct index *index, const struct index_node *found,
                          enum store_label label, uint64_t expected)
{
    const struct index_version *v = index_label(index, found, label);
    assert_int_equal(v ? v->id : 0, expected);
}

static void compare_versions(const struct node_record *n, const struct index *index,
                             const struct index_node *found)
{
    uint32_t i = n->details.version_count;
    const struct index_version *v = index_version_at(index, index_first_version(found));
    for (; v; v = index_version_at(index, v->next)) {
        assert_true(i-- > 0);
        assert_int_equal(v->id, n->details.versions[i].id);
        assert_int_equal(v->number, n->details.versions[i].number);
        assert_ptr_equal(index_find_version(index, v->id), v);
        assert_ptr_equal(index_node_at(index, v->node), found);
    }
    assert_int_equal(i, 0);
    if (n->details.current)
        assert_int_equal(index_version_at(index, index_current(found))->id, n->details.current);
    compare_label(index, found, STORE_LABEL_CURRENT, n->details.current);
    compare_label(index, found, STORE_LABEL_PREVIOUS, n->details.previous);
    compare_label(index, found, STORE_LABEL_PENDING, n->details.pending);
}

static void compare_node(struct model *m, const struct index *index, const struct node_record *n)
{
    const struct index_node *found = index_find_node(index, n->id);
    struct policy policy;

    assert_non_null(found);
    assert_int_equal(found->kind, n->kind);
    assert_int_equal(found->linked, n->deleted_ns == 0 && n->id != STORE_ROOT_ID);
    assert_string_equal(index_name(index, found), n->name);
    index_policy(index, found, &policy);
    assert_true(policy_equal(&policy, &n->policy));
    if (found->linked) {
        const struct index_node *parent = index_find_node(index, n->parent);
        assert_ptr_equal(index_find_child(index, parent, n->name, n->name_len), found);
    }
    compare_versions(n, index, found);
    compare_entries(m, index, found);
}

static void compare_model(struct model *m, const struct index *index)
{
    struct index_stats stats = {0};
    struct multiset sum = {0};
    uint64_t nodes = 0;
    uint64_t versions = 0;

    for (unsigned i = 0; i < MODEL_MAX; i++) {
        const struct node_record *n = &m->nodes[i];
        if (n->kind == 0) {
            assert_null(index_find_node(index, STORE_ROOT_ID + i));
            continue;
        }
        compare_node(m, index, n);
        nodes++;
        versions += n->details.version_count;
        multiset_add(&sum, &m->hashes[i]);
        for (uint32_t v = 0; v < n->details.version_count; v++)
            multiset_add(&sum, &m->version_hash);
        if (n->deleted_ns)
            stats.deleted++;
        else if (n->kind == STORE_DIRECTORY)
            stats.directories++;
        else
            stats.secrets++;
        if (!n->deleted_ns)
            stats.value_bytes += 10 * (uint64_t)n->details.version_count;
    }
    struct multiset hash = index_hash(index);
    assert_true(multiset_equal(&hash, &sum));
    assert_int_equal(index_rows(index, TABLE_NODE), nodes);
    assert_int_equal(index_rows(index, TABLE_VERSION), versions);
    assert_memory_equal(index_stats(index), &stats, sizeof stats);
}

static void test_model(void **state)
{
    (void)state;
    struct model *m = calloc(1, sizeof *m);
    struct index *index = new_index();

    assert_non_null(m);
    m->nodes[0] = record_of(STORE_ROOT_ID, STORE_DIRECTORY, 0, "");
    m->version_hash = (struct multiset){{3, 5}};
    m->next_version = 100000;
    m->random = 4;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned together = 1 + choose(m, 12);
        m->update = i + 1;
        while (together-- > 0)
            change_both(m, index);
        assert_ok(index_link(index));
        if (i % 10 == 0)
            compare_model(m, index);
    }
    assert_in_range(index_node_slots(index), 30, MODEL_MAX + 1);
    index_free(index);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_empty),
        plain_test(test_refuses_bad_parents),
        plain_test(test_refuses_a_name_twice),
        plain_test(test_refuses_cycles),
        plain_test(test_depth),
        plain_test(test_refuses_bad_versions),
        plain_test(test_refuses_another_meaning_of_an_id),
        plain_test(test_one_update_in_any_order),
        plain_test(test_directory_times),
        plain_test(test_memory_is_used_again),
        plain_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
