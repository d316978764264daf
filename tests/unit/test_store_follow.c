/*
 * Following: exactly what has changed is told, and a commit is always heard of, also one of a
 * writer that was killed before it could say so (utimensat(), with which it says so, is replaced).
 */
#include "changes.h"
#include "helpers.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int __real_utimensat(int dir, const char *path, const struct timespec times[2], int flags);
int __wrap_utimensat(int dir, const char *path, const struct timespec times[2], int flags);

static bool die_after_commit;

int __wrap_utimensat(int dir, const char *path, const struct timespec times[2], int flags)
{
    if (die_after_commit)
        raise(SIGKILL);
    return __real_utimensat(dir, path, times, flags);
}

/* A writer, a follower, and what the follower heard last. */
struct pair {
    struct store *writer;
    struct store *follower;
    struct store_changes changes;
};

static struct pair open_pair(const struct fixture *f)
{
    struct pair p = {.changes = STORE_CHANGES_INIT};
    p.writer = open_store(f, STORE_READ_WRITE);
    p.follower = open_store(f, STORE_READ_ONLY);
    return p;
}

static void close_pair(struct pair *p)
{
    store_changes_release(&p->changes);
    store_close(p->writer);
    store_close(p->follower);
}

static void follow(struct pair *p, size_t expected)
{
    struct store_stats a;
    struct store_stats b;
    store_changes_release(&p->changes);
    assert_ok(store_refresh(p->follower, &p->changes));
    assert_int_equal(p->changes.count, expected);
    store_stats(p->writer, &a);
    store_stats(p->follower, &b);
    assert_memory_equal(&a, &b, sizeof a);
}

static const struct store_change *change_of(const struct pair *p, uint64_t node)
{
    for (size_t i = 0; i < p->changes.count; i++)
        if (p->changes.items[i].node == node)
            return &p->changes.items[i];
    fail_msg("no change of node %llu", (unsigned long long)node);
    return NULL;
}

static void check_change(const struct pair *p, struct store_change expected, const char *name)
{
    const struct store_change *c = change_of(p, expected.node);
    assert_int_equal(c->kinds, expected.kinds);
    assert_int_equal(c->kind, expected.kind);
    assert_int_equal(c->old_parent, expected.old_parent);
    if (!(c->kinds & STORE_CHANGED_REMOVED)) {
        assert_int_equal(c->new_parent, expected.new_parent);
        assert_int_equal(c->new_version, expected.new_version);
    }
    assert_int_equal(c->old_version, expected.old_version);
    assert_string_equal(c->name, name);
}

#define expect(p, name, ...) check_change(p, (struct store_change){__VA_ARGS__}, name)

static void test_nothing(void **state)
{
    struct pair p = open_pair(*state);
    follow(&p, 0);
    follow(&p, 0);
    assert_ok(store_refresh(p.follower, NULL));
    close_pair(&p);
}

static void test_created(void **state)
{
    struct pair p = open_pair(*state);
    assert_ok(store_begin(p.writer));
    assert_ok(store_mkdir(p.writer, "a"));
    assert_ok(store_mkdir(p.writer, "a/b"));
    assert_ok(store_commit(p.writer));
    put_text(p.writer, "a/b/secret", "value");
    follow(&p, 3);
    struct store_attr a = resolve(p.writer, "a");
    struct store_attr b = resolve(p.writer, "a/b");
    struct store_attr s = resolve(p.writer, "a/b/secret");
    expect(&p, "a", .kinds = STORE_CHANGED_CREATED, .kind = STORE_DIRECTORY, .node = a.node,
           .new_parent = STORE_ROOT_ID);
    expect(&p, "b", .kinds = STORE_CHANGED_CREATED, .kind = STORE_DIRECTORY, .node = b.node,
           .new_parent = a.node);
    expect(&p, "secret", .kinds = STORE_CHANGED_CREATED, .kind = STORE_SECRET, .node = s.node,
           .new_parent = b.node, .new_version = s.version);
    assert_text(p.follower, "a/b/secret", "value");
    close_pair(&p);
}

static void test_rotated(void **state)
{
    struct pair p = open_pair(*state);
    make_directory(p.writer, "a");
    put_text(p.writer, "a/secret", "one");
    follow(&p, 2);
    struct store_attr one = resolve(p.writer, "a/secret");
    put_text(p.writer, "a/secret", "two");
    put_text(p.writer, "a/secret", "three"); /* two commits, one change */
    struct store_attr three = resolve(p.writer, "a/secret");
    follow(&p, 1);
    expect(&p, "secret", .kinds = STORE_CHANGED_VERSION | STORE_CHANGED_POLICY,
           .kind = STORE_SECRET, .node = one.node, .old_parent = one.parent,
           .new_parent = one.parent, .old_version = one.version, .new_version = three.version);
    assert_ok(store_begin(p.writer));
    assert_ok(store_set_current(p.writer, "a/secret", 1));
    assert_ok(store_commit(p.writer));
    follow(&p, 1);
    expect(&p, "secret", .kinds = STORE_CHANGED_VERSION | STORE_CHANGED_POLICY,
           .kind = STORE_SECRET, .node = one.node, .old_parent = one.parent,
           .new_parent = one.parent, .old_version = three.version, .new_version = one.version);
    assert_text(p.follower, "a/secret", "one");
    close_pair(&p);
}

static void test_policies(void **state)
{
    struct pair p = open_pair(*state);
    put_text(p.writer, "secret", "value");
    make_directory(p.writer, "a");
    follow(&p, 2);
    struct store_attr s = resolve(p.writer, "secret");
    struct store_attr a = resolve(p.writer, "a");
    set_mode(p.writer, "secret", 0440);
    set_mode(p.writer, "a", 0700);
    set_mode(p.writer, "/", 0711);
    follow(&p, 3);
    expect(&p, "secret", .kinds = STORE_CHANGED_POLICY, .kind = STORE_SECRET, .node = s.node,
           .old_parent = s.parent, .new_parent = s.parent, .old_version = s.version,
           .new_version = s.version);
    expect(&p, "a", .kinds = STORE_CHANGED_POLICY, .kind = STORE_DIRECTORY, .node = a.node,
           .old_parent = a.parent, .new_parent = a.parent);
    expect(&p, "", .kinds = STORE_CHANGED_POLICY, .kind = STORE_DIRECTORY, .node = STORE_ROOT_ID);
    assert_int_equal(resolve(p.follower, "secret").mode, 0440);
    close_pair(&p);
}

static void test_moved(void **state)
{
    struct pair p = open_pair(*state);
    make_directory(p.writer, "a");
    make_directory(p.writer, "b");
    put_text(p.writer, "a/secret", "value");
    follow(&p, 3);
    struct store_attr s = resolve(p.writer, "a/secret");
    struct store_attr b = resolve(p.writer, "b");
    assert_ok(store_begin(p.writer));
    assert_ok(store_move(p.writer, "a/secret", "b/other"));
    assert_ok(store_commit(p.writer));
    follow(&p, 2); /* the directory it left remembers when */
    expect(&p, "secret", .kinds = STORE_CHANGED_MOVED | STORE_CHANGED_POLICY, .kind = STORE_SECRET,
           .node = s.node, .old_parent = s.parent, .new_parent = b.node, .old_version = s.version,
           .new_version = s.version);
    expect(&p, "a", .kinds = STORE_CHANGED_POLICY, .kind = STORE_DIRECTORY, .node = s.parent,
           .old_parent = STORE_ROOT_ID, .new_parent = STORE_ROOT_ID);
    assert_text(p.follower, "b/other", "value");

    /* Two exchange their names between two looks. */
    put_text(p.writer, "b/secret", "second");
    follow(&p, 1);
    assert_ok(store_begin(p.writer));
    assert_ok(store_move(p.writer, "b/other", "x"));
    assert_ok(store_move(p.writer, "b/secret", "b/other"));
    assert_ok(store_move(p.writer, "x", "b/secret"));
    assert_ok(store_commit(p.writer));
    follow(&p, 4); /* both, and the directories that were left: b and the root */
    assert_text(p.follower, "b/other", "second");
    assert_text(p.follower, "b/secret", "value");
    close_pair(&p);
}

static void test_removed_and_restored(void **state)
{
    struct pair p = open_pair(*state);
    put_text(p.writer, "secret", "value");
    follow(&p, 1);
    struct store_attr s = resolve(p.writer, "secret");
    remove_path(p.writer, "secret");
    follow(&p, 1);
    expect(&p, "secret", .kinds = STORE_CHANGED_REMOVED, .kind = STORE_SECRET, .node = s.node,
           .old_parent = STORE_ROOT_ID, .old_version = s.version);
    assert_error(store_resolve(p.follower, "secret", &(struct store_attr){0}), STORE_ERR_NOT_FOUND);
    assert_ok(store_begin(p.writer));
    assert_ok(store_restore(p.writer, "secret"));
    assert_ok(store_commit(p.writer));
    follow(&p, 1);
    expect(&p, "secret", .kinds = STORE_CHANGED_CREATED, .kind = STORE_SECRET, .node = s.node,
           .new_parent = STORE_ROOT_ID, .new_version = s.version);
    assert_text(p.follower, "secret", "value");

    /* Made and removed again between two looks: nobody needs to hear of it. */
    put_text(p.writer, "brief", "value");
    remove_path(p.writer, "brief");
    follow(&p, 0);
    close_pair(&p);
}

static void test_purged(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;

    make_directory(p.writer, "a");
    put_text(p.writer, "a/secret", "one");
    put_text(p.writer, "a/secret", "two");
    put_text(p.writer, "kept", "kept");
    follow(&p, 3);
    struct store_attr s = resolve(p.writer, "a/secret");
    /* Removed, purged, and another made in its place, all at once for the follower. */
    assert_ok(store_begin(p.writer));
    assert_ok(store_remove(p.writer, "a/secret", STORE_RECOVERY_S));
    assert_ok(store_remove(p.writer, "a", STORE_RECOVERY_S));
    assert_ok(store_purge(p.writer, "a"));
    assert_ok(store_mkdir(p.writer, "a"));
    assert_ok(store_commit(p.writer));
    assert_ok(store_compact(p.writer, -1));
    assert_error(store_read(p.follower, s.version, &value), STORE_ERR_NO_VERSION);
    follow(&p, 4); /* two gone, one made, the root touched */
    expect(&p, "secret", .kinds = STORE_CHANGED_REMOVED, .kind = STORE_SECRET, .node = s.node,
           .old_parent = s.parent, .old_version = s.version);
    expect(&p, "a", .kinds = STORE_CHANGED_REMOVED, .kind = STORE_DIRECTORY, .node = s.parent,
           .old_parent = STORE_ROOT_ID);
    expect(&p, "a", .kinds = STORE_CHANGED_CREATED, .kind = STORE_DIRECTORY,
           .node = resolve(p.writer, "a").node, .new_parent = STORE_ROOT_ID);
    assert_text(p.follower, "kept", "kept");

    /* And live after it. */
    put_text(p.writer, "kept", "new");
    follow(&p, 1);
    assert_text(p.follower, "kept", "new");
    close_pair(&p);
}

/* A follower that was away while versions were made and pruned. */
static void test_pruned(void **state)
{
    struct pair p = open_pair(*state);
    char text[16];
    put_text(p.writer, "secret", "0");
    follow(&p, 1);
    for (unsigned i = 1; i <= STORE_VERSIONS_KEPT + 20; i++) {
        snprintf(text, sizeof text, "%u", i);
        put_text(p.writer, "secret", text);
        if (i == STORE_VERSIONS_KEPT - 10 || i == STORE_VERSIONS_KEPT + 1)
            follow(&p, 1);
    }
    follow(&p, 1);
    assert_text(p.follower, "secret", text);
    assert_ok(store_check(p.follower));
    close_pair(&p);
}

/* ---- Watching ---------------------------------------------------------------------------------
 */

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

static void test_watch(void **state)
{
    struct fixture *f = *state;
    struct pair p = open_pair(f);
    char other[128];
    int fd = -1;

    assert_ok(store_watch(p.follower, &fd));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_false(readable(fd, 0));
    assert_false(store_watch_drain(p.follower)); /* does not wait */
    for (int i = 0; i < 3; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        put_text(p.writer, "secret", text);
        assert_true(readable(fd, 5000));
        assert_true(store_watch_drain(p.follower));
        assert_false(readable(fd, 0));
        follow(&p, 1);
        assert_text(p.follower, "secret", text);
    }
    assert_false(readable(fd, 100)); /* following raises nothing */
    assert_ok(store_begin(p.writer));
    store_rollback(p.writer);

    /* Another file of the folder is not the store. */
    snprintf(other, sizeof other, "%s/store.db.other", f->folder);
    int file = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    assert_true(readable(fd, 5000));
    assert_false(store_watch_drain(p.follower));
    close_pair(&p);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was the store's */
}

/* The writer runs in a process of its own, made before SQLite has the file open here. */
static pid_t start_writer(const struct fixture *f, int *ret_go, bool kill_it)
{
    int go[2];
    char byte;
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        die_after_commit = kill_it;
        struct store *s = open_store(f, STORE_READ_WRITE);
        put_text(s, "secret", "new");
        _exit(0); /* without closing the store */
    }
    close(go[0]);
    *ret_go = go[1];
    return pid;
}

/* Refresh whenever the descriptor says so, and never else, until the new value is there. */
static void wait_for_value(struct store *s, int fd)
{
    for (int i = 0; i < 1000; i++) {
        struct store_attr attr;
        if (!readable(fd, 5000))
            break;
        if (!store_watch_drain(s))
            continue;
        assert_ok(store_refresh(s, NULL));
        if (store_resolve(s, "secret", &attr) == STORE_OK && attr.number == 2)
            return;
    }
    fail_msg("the commit was not heard of");
}

static void watch_a_process(const struct fixture *f, bool kill_it)
{
    int status = 0;
    int go = -1;
    int fd = -1;
    for (int round = 0; round < 10; round++) {
        pid_t pid = start_writer(f, &go, kill_it);
        struct store *s = open_store(f, STORE_READ_WRITE);
        if (round > 0) {
            assert_ok(store_begin(s));
            assert_ok(store_remove(s, "secret", STORE_RECOVERY_S));
            assert_ok(store_commit(s));
        }
        put_text(s, "secret", "old");
        assert_ok(store_watch(s, &fd));
        assert_int_equal(write(go, "g", 1), 1);
        close(go);
        wait_for_value(s, fd);
        assert_text(s, "secret", "new");
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, kill_it);
        store_close(s);
    }
    assert_ok(try_load(f));
}

static void test_watch_another_process(void **state)
{
    watch_a_process(*state, false);
}

static void test_watch_a_killed_process(void **state)
{
    watch_a_process(*state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_nothing),
        store_test(test_created),
        store_test(test_rotated),
        store_test(test_policies),
        store_test(test_moved),
        store_test(test_removed_and_restored),
        store_test(test_purged),
        store_test(test_pruned),
        store_test(test_watch),
        store_test(test_watch_another_process),
        store_test(test_watch_a_killed_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
