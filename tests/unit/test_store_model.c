/*
 * Thousands of random operations on a store and on a simple model of it: the same answers, errors
 * included, and afterwards the same tree for the writer, for a follower that looks now and then,
 * for whoever opens the file anew, and for a mirror that knows only what the follower was told.
 */
#include "changes.h"
#include "helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES 600
#define VERSIONS 8 /* at most; then the model leaves the secret alone */
#define NAMES 4
#define PARTS 4

struct model_node {
    uint64_t id; /* 0: purged, or not yet there */
    uint64_t parent;
    enum store_kind kind;
    unsigned name;
    unsigned deleted; /* when, in operations; 0: it is in the tree */
    uint16_t mode;
    unsigned values[VERSIONS]; /* seeds, by number - 1 */
    unsigned versions;
    unsigned current; /* numbers */
    unsigned previous;
    unsigned pending;
};

struct model {
    struct model_node nodes[NODES]; /* the first is the root directory */
    unsigned count;
    unsigned operations;
};

struct mirror_node {
    bool there;
    uint64_t parent;
    uint64_t version;
    char name[8];
};

struct world {
    struct model now;
    struct model committed;
    struct store *writer;
    struct store *follower;
    struct mirror_node *mirror; /* by id */
    uint64_t mirror_size;
    uint64_t random;
    unsigned succeeded;
    unsigned refused;
};

static unsigned choose(struct world *w, unsigned below)
{
    return next_random(&w->random) % below;
}

/* ---- The model ----------------------------------------------------------------------------------
 */

struct path {
    unsigned parts;
    unsigned names[PARTS];
    char text[PARTS * 2 + 1];
};

static struct model_node *by_id(struct model *m, uint64_t id)
{
    for (unsigned i = 0; i < m->count; i++)
        if (id && m->nodes[i].id == id)
            return &m->nodes[i];
    return NULL;
}

static void set_text(struct path *p)
{
    for (unsigned i = 0; i < p->parts; i++) {
        p->text[2 * i] = (char)('a' + p->names[i]);
        p->text[2 * i + 1] = i + 1 < p->parts ? '/' : '\0';
    }
}

/* Mostly the path of a node there is, or of a name in it; else any names at all. */
static struct path some_path(struct world *w)
{
    struct path p = {.parts = 0};
    struct model_node *n = NULL;

    for (int i = 0; i < 10 && (n == NULL || n->id == 0 || n->deleted); i++)
        n = &w->now.nodes[choose(w, w->now.count)];
    while (n && n->id > STORE_ROOT_ID && !n->deleted && p.parts < PARTS) {
        memmove(p.names + 1, p.names, p.parts * sizeof p.names[0]);
        p.names[0] = n->name;
        p.parts++;
        n = by_id(&w->now, n->parent);
    }
    if (n == NULL || n->id != STORE_ROOT_ID || choose(w, 16) == 0) {
        p.parts = 1 + choose(w, PARTS);
        for (unsigned i = 0; i < p.parts; i++)
            p.names[i] = choose(w, NAMES);
    } else if (p.parts == 0 || (p.parts < PARTS && choose(w, 2))) {
        p.names[p.parts++] = choose(w, NAMES);
    }
    set_text(&p);
    return p;
}

static struct model_node *child(struct model *m, const struct model_node *dir, unsigned name)
{
    for (unsigned i = 1; i < m->count; i++) {
        struct model_node *n = &m->nodes[i];
        if (n->id && !n->deleted && n->parent == dir->id && n->name == name)
            return n;
    }
    return NULL;
}

struct place {
    struct model_node *parent;
    struct model_node *node;
    unsigned name;
};

static enum store_err find(struct model *m, const struct path *p, struct place *ret)
{
    struct model_node *n = &m->nodes[0];
    for (unsigned i = 0; i < p->parts; i++) {
        if (n == NULL)
            return STORE_ERR_NOT_FOUND;
        if (n->kind != STORE_DIRECTORY)
            return STORE_ERR_NOT_DIRECTORY;
        ret->parent = n;
        ret->name = p->names[i];
        n = child(m, n, p->names[i]);
    }
    ret->node = n;
    return STORE_OK;
}

static struct model_node *add(struct model *m, const struct place *at, enum store_kind kind)
{
    assert_true(m->count < NODES);
    struct model_node *n = &m->nodes[m->count++];
    *n = (struct model_node){.parent = at->parent->id,
                             .kind = kind,
                             .name = at->name,
                             .mode = kind == STORE_DIRECTORY ? 0755 : 0400};
    return n;
}

static struct model_node *last_deleted(struct model *m, const struct place *at)
{
    struct model_node *last = NULL;
    for (unsigned i = 1; i < m->count; i++) {
        struct model_node *n = &m->nodes[i];
        if (n->id && n->deleted && n->parent == at->parent->id && n->name == at->name &&
            (last == NULL || n->deleted > last->deleted ||
             (n->deleted == last->deleted && n->id > last->id)))
            last = n;
    }
    return last;
}

static void forget(struct model *m, struct model_node *n)
{
    uint64_t id = n->id;
    n->id = 0;
    for (unsigned i = 1; i < m->count; i++)
        if (m->nodes[i].id && m->nodes[i].parent == id)
            forget(m, &m->nodes[i]);
}

/* ---- Operations on both
 * --------------------------------------------------------------------------- */

/* What the model expects is compared with what the store says; true where both went well. */
static bool same_answer(struct world *w, const char *what, const struct path *p,
                        enum store_err expected, enum store_err got)
{
    if (expected != got)
        print_error("%s %s\n", what, p->text);
    assert_error(got, expected);
    w->succeeded += !got;
    w->refused += got != STORE_OK;
    return !got;
}

static void do_mkdir(struct world *w, const struct path *p)
{
    struct place at = {0};
    enum store_err err = find(&w->now, p, &at);
    if (!err && at.node)
        err = STORE_ERR_EXISTS;
    if (same_answer(w, "mkdir", p, err, store_mkdir(w->writer, p->text)))
        add(&w->now, &at, STORE_DIRECTORY)->id = resolve(w->writer, p->text).node;
}

static void do_put(struct world *w, const struct path *p)
{
    struct place at = {0};
    uint32_t number = 0;
    unsigned seed = 1 + choose(w, 1000);
    SECBUF_AUTO struct secbuf value = secret_filled(seed, seed);
    enum store_err err = find(&w->now, p, &at);

    if (!err && at.node && at.node->kind == STORE_DIRECTORY)
        err = STORE_ERR_IS_DIRECTORY;
    if (!err && at.node && at.node->versions == VERSIONS)
        return;
    if (!same_answer(w, "put", p, err, store_put(w->writer, p->text, &value, true, &number)))
        return;
    struct model_node *n = at.node ? at.node : add(&w->now, &at, STORE_SECRET);
    n->id = resolve(w->writer, p->text).node;
    n->values[n->versions++] = seed;
    n->previous = n->current;
    n->current = n->versions;
    assert_int_equal(number, n->versions);
}

static enum store_err find_secret(struct model *m, const struct path *p, struct place *ret)
{
    enum store_err err = find(m, p, ret);
    if (!err && ret->node == NULL)
        err = STORE_ERR_NOT_FOUND;
    if (!err && ret->node->kind == STORE_DIRECTORY)
        err = STORE_ERR_IS_DIRECTORY;
    return err;
}

static void make_current(struct model_node *n, unsigned number)
{
    n->previous = n->current;
    n->current = number;
    if (n->pending == number)
        n->pending = 0;
}

static void do_rollback(struct world *w, const struct path *p)
{
    struct place at = {0};
    enum store_err err = find_secret(&w->now, p, &at);
    if (!err && at.node->previous == 0)
        err = STORE_ERR_NO_VERSION;
    if (!same_answer(w, "roll back", p, err, store_set_current(w->writer, p->text, 0)))
        return;
    make_current(at.node, at.node->previous);
}

static void do_put_pending(struct world *w, const struct path *p)
{
    struct place at = {0};
    uint32_t number = 0;
    unsigned seed = 1 + choose(w, 1000);
    SECBUF_AUTO struct secbuf value = secret_filled(seed, seed);
    enum store_err err = find_secret(&w->now, p, &at);

    if (!err && (at.node->versions == VERSIONS ||
                 (at.node->pending && at.node->values[at.node->pending - 1] == seed)))
        return;
    if (!same_answer(w, "put pending", p, err,
                     store_put_pending(w->writer, p->text, &value, &number)))
        return;
    at.node->values[at.node->versions++] = seed;
    at.node->pending = at.node->versions;
    assert_int_equal(number, at.node->versions);
}

/* Any label on any version, or one more than there are; or taken away. */
static void do_label(struct world *w, const struct path *p)
{
    struct place at = {0};
    enum store_label label = (enum store_label)choose(w, 3);
    enum store_err err = find_secret(&w->now, p, &at);
    struct model_node *n = at.node;
    unsigned number = err ? 1 : choose(w, n->versions + 2);

    if (!err && label == STORE_LABEL_CURRENT && number == 0)
        err = STORE_ERR_INVALID;
    if (!err && number > n->versions)
        err = STORE_ERR_NO_VERSION;
    if (!err && label != STORE_LABEL_CURRENT && number == n->current)
        err = STORE_ERR_INVALID;
    if (!same_answer(w, "label", p, err, store_set_label(w->writer, p->text, label, number)))
        return;
    if (label != STORE_LABEL_CURRENT)
        *(label == STORE_LABEL_PREVIOUS ? &n->previous : &n->pending) = number;
    else if (number != n->current)
        make_current(n, number);
}

static void do_chmod(struct world *w, const struct path *p)
{
    struct place at = {0};
    struct policy policy = policy_make(0, 0, (uint16_t)choose(w, 01000));
    enum store_err err = find(&w->now, p, &at);
    if (!err && at.node == NULL)
        err = STORE_ERR_NOT_FOUND;
    if (same_answer(w, "chmod", p, err, store_set_policy(w->writer, p->text, &policy)))
        at.node->mode = policy.mode;
}

static void do_move(struct world *w, const struct path *p)
{
    struct place from = {0};
    struct place to = {0};
    struct path target = some_path(w);
    enum store_err err = find(&w->now, p, &from);
    if (!err && from.node == NULL)
        err = STORE_ERR_NOT_FOUND;
    if (!err)
        err = find(&w->now, &target, &to);
    if (!err && to.node)
        err = STORE_ERR_EXISTS;
    for (struct model_node *n = err ? NULL : to.parent; n; n = by_id(&w->now, n->parent))
        if (n == from.node)
            err = STORE_ERR_INVALID;
    if (!same_answer(w, "move", p, err, store_move(w->writer, p->text, target.text)))
        return;
    from.node->parent = to.parent->id;
    from.node->name = to.name;
}

static void do_remove(struct world *w, const struct path *p)
{
    struct place at = {0};
    enum store_err err = find(&w->now, p, &at);
    if (!err && at.node == NULL)
        err = STORE_ERR_NOT_FOUND;
    for (unsigned name = 0; name < NAMES && !err; name++)
        if (child(&w->now, at.node, name))
            err = STORE_ERR_NOT_EMPTY;
    if (same_answer(w, "remove", p, err, store_remove(w->writer, p->text, STORE_RECOVERY_S)))
        at.node->deleted = w->now.operations;
}

static void do_restore(struct world *w, const struct path *p)
{
    struct place at = {0};
    enum store_err err = find(&w->now, p, &at);
    struct model_node *last = err ? NULL : last_deleted(&w->now, &at);
    if (!err && at.node)
        err = STORE_ERR_EXISTS;
    if (!err && last == NULL)
        err = STORE_ERR_NOT_FOUND;
    if (same_answer(w, "restore", p, err, store_restore(w->writer, p->text)))
        last->deleted = 0;
}

static void do_purge(struct world *w, const struct path *p)
{
    struct place at = {0};
    enum store_err err = find(&w->now, p, &at);
    struct model_node *last = err ? NULL : last_deleted(&w->now, &at);
    if (!err && last == NULL)
        err = at.node ? STORE_ERR_EXISTS : STORE_ERR_NOT_FOUND;
    if (!same_answer(w, "purge", p, err, store_purge(w->writer, p->text)))
        return;
    for (; last; last = last_deleted(&w->now, &at))
        forget(&w->now, last);
}

static void one_operation(struct world *w)
{
    struct path p = some_path(w);
    unsigned what = choose(w, 18);

    if (what < 3)
        do_mkdir(w, &p);
    else if (what < 8)
        do_put(w, &p);
    else if (what == 8)
        do_rollback(w, &p);
    else if (what == 9)
        do_chmod(w, &p);
    else if (what < 12)
        do_move(w, &p);
    else if (what < 14)
        do_remove(w, &p);
    else if (what == 14)
        do_restore(w, &p);
    else if (what == 15)
        do_purge(w, &p);
    else if (what == 16)
        do_put_pending(w, &p);
    else
        do_label(w, &p);
}

/* ---- Comparing
 * ------------------------------------------------------------------------------------- */

struct seen {
    struct model *m;
    uint64_t directory;
    unsigned entries;
};

static bool see_entry(void *arg, const char *name, const struct store_attr *attr)
{
    struct seen *seen = arg;
    const struct model_node *n = by_id(seen->m, attr->node);
    assert_non_null(n);
    assert_int_equal(n->parent, seen->directory);
    assert_int_equal(n->deleted, 0);
    assert_int_equal(name[0], 'a' + n->name);
    assert_int_equal(name[1], '\0');
    seen->entries++;
    return true;
}

static unsigned compare_directory(struct model *m, struct store *s, const struct model_node *dir)
{
    struct seen seen = {m, dir->id, 0};
    unsigned expected = 0;
    unsigned subdirs = 0;
    struct store_attr attr;

    for (unsigned name = 0; name < NAMES; name++) {
        const struct model_node *n = child(m, dir, name);
        enum store_err err = store_lookup(s, dir->id, (char[]){(char)('a' + name), '\0'}, &attr);
        assert_error(err, n ? STORE_OK : STORE_ERR_NOT_FOUND);
        if (n)
            assert_int_equal(attr.node, n->id);
        expected += n != NULL;
        subdirs += n && n->kind == STORE_DIRECTORY;
    }
    assert_ok(store_list(s, dir->id, 0, see_entry, &seen));
    assert_int_equal(seen.entries, expected);
    assert_ok(store_stat(s, dir->id, &attr));
    assert_int_equal(attr.subdirs, subdirs);
    return subdirs;
}

static void compare_secret(struct store *s, const struct model_node *n,
                           const struct store_attr *attr)
{
    static struct store_details d;
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    SECBUF_AUTO struct secbuf expected =
        secret_filled(n->values[n->current - 1], n->values[n->current - 1]);

    assert_int_equal(attr->number, n->current);
    assert_int_equal(attr->size_bytes, expected.len);
    assert_ok(store_read(s, attr->version, &value));
    assert_int_equal(value.len, expected.len);
    assert_memory_equal(value.data, expected.data, expected.len);
    assert_ok(store_details(s, n->id, &d));
    assert_int_equal(d.version_count, n->versions);
    assert_int_equal(d.previous, n->previous ? d.versions[n->previous - 1].id : 0);
    assert_int_equal(d.pending, n->pending ? d.versions[n->pending - 1].id : 0);
    assert_int_equal(attr->previous_number, n->previous);
    assert_int_equal(attr->pending_number, n->pending);
}

static void compare(struct model *m, struct store *s)
{
    struct store_stats stats;
    uint64_t secrets = 0;
    uint64_t directories = 0;
    uint64_t deleted = 0;
    uint64_t versions = 0;

    for (unsigned i = 0; i < m->count; i++) {
        const struct model_node *n = &m->nodes[i];
        struct store_attr attr;
        if (n->id == 0)
            continue;
        assert_ok(store_stat(s, n->id, &attr));
        assert_int_equal(attr.kind, n->kind);
        assert_int_equal(attr.mode, n->mode);
        assert_int_equal(attr.deleted, n->deleted != 0);
        if (i > 0)
            assert_int_equal(attr.parent, n->parent);
        versions += n->versions;
        deleted += n->deleted != 0;
        secrets += !n->deleted && n->kind == STORE_SECRET;
        directories += !n->deleted && n->kind == STORE_DIRECTORY;
        if (n->kind == STORE_SECRET)
            compare_secret(s, n, &attr);
        else if (!n->deleted)
            compare_directory(m, s, n);
    }
    store_stats(s, &stats);
    assert_int_equal(stats.secrets, secrets);
    assert_int_equal(stats.directories, directories);
    assert_int_equal(stats.deleted, deleted);
    assert_int_equal(stats.versions, versions);
}

/* Two handles say the same of every node, times included. */
static void compare_attributes(struct model *m, struct store *a, struct store *b)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct store_attr x;
        struct store_attr y;
        if (m->nodes[i].id == 0)
            continue;
        assert_ok(store_stat(a, m->nodes[i].id, &x));
        assert_ok(store_stat(b, m->nodes[i].id, &y));
        assert_int_equal(x.version, y.version);
        assert_int_equal(x.current, y.current);
        assert_int_equal(x.subdirs, y.subdirs);
        assert_int_equal(x.mtime_ns, y.mtime_ns);
        assert_int_equal(x.ctime_ns, y.ctime_ns);
    }
}

static void apply_to_mirror(struct world *w, const struct store_change *c)
{
    assert_in_range(c->node, STORE_ROOT_ID, w->mirror_size - 1);
    struct mirror_node *n = &w->mirror[c->node];
    if (!n->there && c->kinds == STORE_CHANGED_POLICY)
        return; /* it was back between two looks, and is gone again */
    if (c->kinds & STORE_CHANGED_CREATED) {
        assert_false(n->there);
        *n = (struct mirror_node){.there = true};
        snprintf(n->name, sizeof n->name, "%s", c->name);
    } else {
        assert_true(n->there);
        assert_int_equal(c->old_parent, n->parent);
        assert_int_equal(c->old_version, n->version);
        assert_string_equal(c->name, n->name);
    }
    if (c->kinds & STORE_CHANGED_REMOVED) {
        n->there = false;
        return;
    }
    if (c->kinds & STORE_CHANGED_CREATED || c->kinds & STORE_CHANGED_MOVED)
        n->parent = c->new_parent;
    if (c->kinds & STORE_CHANGED_CREATED || c->kinds & STORE_CHANGED_VERSION)
        n->version = c->new_version;
    assert_int_equal(n->parent, c->new_parent);
    assert_int_equal(n->version, c->new_version);
}

static void compare_mirror(struct world *w)
{
    for (uint64_t id = STORE_ROOT_ID + 1; id < w->mirror_size; id++) {
        struct mirror_node *mirrored = &w->mirror[id];
        const struct model_node *n = by_id(&w->committed, id);
        assert_int_equal(mirrored->there, n != NULL && !n->deleted);
        if (!mirrored->there)
            continue;
        assert_int_equal(mirrored->parent, n->parent);
        if (mirrored->name[0] != 'a' + (char)n->name) /* a move tells only the old name */
            mirrored->name[0] = (char)('a' + n->name);
        if (n->kind == STORE_SECRET) {
            struct store_attr attr;
            assert_ok(store_stat(w->follower, id, &attr));
            assert_int_equal(mirrored->version, attr.version);
        }
    }
}

static void follow(struct world *w)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    assert_ok(store_refresh(w->follower, &changes));
    for (size_t i = 0; i < changes.count; i++)
        apply_to_mirror(w, &changes.items[i]);
    store_changes_release(&changes);
    compare_mirror(w);
    compare(&w->committed, w->follower);
    compare_attributes(&w->committed, w->writer, w->follower);
}

static void one_transaction(struct world *w)
{
    unsigned operations = 1 + choose(w, 8);
    assert_ok(store_begin(w->writer));
    w->now.operations++; /* what is removed in one transaction is removed at one time */
    while (operations-- > 0)
        one_operation(w);
    if (choose(w, 8) == 0) {
        store_rollback(w->writer);
        w->now = w->committed;
        assert_ok(store_load(w->writer));
    } else {
        assert_ok(store_commit(w->writer));
        w->committed = w->now;
    }
}

static void run(struct fixture *f, uint64_t seed, unsigned transactions)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->random = seed;
    w->mirror_size = 5000;
    w->mirror = calloc(w->mirror_size, sizeof *w->mirror);
    assert_non_null(w->mirror);
    w->mirror[STORE_ROOT_ID] = (struct mirror_node){.there = true};
    w->now.nodes[0] =
        (struct model_node){.id = STORE_ROOT_ID, .kind = STORE_DIRECTORY, .mode = 0755};
    w->now.count = 1;
    w->committed = w->now;
    w->writer = open_store(f, STORE_READ_WRITE);
    w->follower = open_store(f, STORE_READ_ONLY);
    for (unsigned i = 0; i < transactions; i++) {
        one_transaction(w);
        if (choose(w, 4) == 0)
            follow(w);
        if (i % 50 == 49) {
            struct store *fresh = open_store(f, STORE_READ_ONLY);
            compare(&w->committed, fresh);
            compare_attributes(&w->committed, w->writer, fresh);
            store_close(fresh);
            compare(&w->committed, w->writer);
        }
    }
    assert_true(w->succeeded > transactions);
    assert_true(w->refused > transactions / 2);
    follow(w);
    store_close(w->writer);
    store_close(w->follower);
    free(w->mirror);
    free(w);
}

static void test_model(void **state)
{
    run(*state, 1, 300);
}

static void test_model_again(void **state)
{
    run(*state, 20, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_model),
        store_test(test_model_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
