/*
 * Four readers ask, list and read while one thread follows what a writer commits, in another
 * process and in this one. Build with -Db_sanitize=thread to see races; here what is read must be
 * whole: the value is the one of the version it was asked by.
 */
#include "changes.h"
#include "helpers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READERS 4
#define COMMITS 150
#define SECRETS 5

/* cmocka's assertions are for the main thread; the others count what was wrong. */
struct shared {
    struct store *store;
    struct store *writer; /* NULL where another process writes */
    const struct fixture *f;
    atomic_bool done;
    atomic_uint wrong;
    atomic_uint reads;
    atomic_uint refreshes;
    uint64_t directory;
};

static void wrong(struct shared *sh, const char *what, enum store_err err)
{
    if (atomic_fetch_add(&sh->wrong, 1) < 5)
        fprintf(stderr, "%s: %s (%s %s)\n", what, store_strerror(err), store_fault()->operation,
                store_fault()->object);
}

/* The value of version `number` of any of the secrets, and its length. */
static size_t value_of(unsigned number, char text[4096])
{
    size_t len = number * 37 % 3000 + 4;
    memset(text, 'a' + (int)(number % 26), len);
    memcpy(text, &number, 4);
    return len;
}

static void check_secret(struct shared *sh, const char *name, struct secbuf *value)
{
    char expected[4096];
    struct store_attr attr;
    struct store_attr again;
    struct policy policy;

    enum store_err err = store_lookup(sh->store, sh->directory, name, &attr);
    if (err) {
        wrong(sh, "lookup", err);
        return;
    }
    size_t len = value_of(attr.number, expected);
    if (attr.size_bytes != len)
        wrong(sh, "size", STORE_OK);
    err = store_read(sh->store, attr.version, value);
    if (err)
        wrong(sh, "read", err);
    else if (value->len != len || memcmp(value->data, expected, len) != 0)
        wrong(sh, "value", STORE_OK);
    /* The version stays what it was; the secret has it, or a later one, as current. */
    err = store_stat(sh->store, attr.version, &again);
    if (err || again.number != attr.number || again.size_bytes != len)
        wrong(sh, "stat", err);
    err = store_stat(sh->store, attr.node, &again);
    if (err || again.number < attr.number)
        wrong(sh, "stat of the secret", err);
    err = store_policy(sh->store, attr.node, &policy);
    if (err || policy.mode != 0400)
        wrong(sh, "policy", err);
    atomic_fetch_add(&sh->reads, 1);
}

static bool count_entry(void *arg, const char *name, const struct store_attr *attr)
{
    unsigned *count = arg;
    *count += name[0] == 's' && attr->kind == STORE_SECRET;
    return true;
}

static void *read_always(void *arg)
{
    struct shared *sh = arg;
    struct secbuf value = SECBUF_INIT;

    for (unsigned i = 0; !atomic_load(&sh->done); i++) {
        unsigned count = 0;
        struct store_stats stats;
        char name[16];
        snprintf(name, sizeof name, "s%u", i % SECRETS);
        check_secret(sh, name, &value);
        enum store_err err = store_list(sh->store, sh->directory, 0, count_entry, &count);
        if (err || count != SECRETS)
            wrong(sh, "list", err);
        store_stats(sh->store, &stats);
        if (stats.secrets < SECRETS)
            wrong(sh, "stats", STORE_OK);
    }
    secbuf_release(&value);
    return NULL;
}

static void *follow_always(void *arg)
{
    struct shared *sh = arg;
    while (!atomic_load(&sh->done)) {
        struct store_changes changes = STORE_CHANGES_INIT;
        enum store_err err = store_refresh(sh->store, &changes);
        if (err)
            wrong(sh, "refresh", err);
        if (changes.count > 0)
            atomic_fetch_add(&sh->refreshes, 1);
        store_changes_release(&changes);
        store_watch_drain(sh->store);
        usleep(200);
    }
    return NULL;
}

/* Commit `rounds` new versions of every secret, and a node beside them that comes and goes. */
static bool write_rounds(struct store *s, unsigned first, unsigned rounds)
{
    struct secbuf value = SECBUF_INIT;
    bool good = secbuf_alloc(&value, 4096) == STORE_OK;

    for (unsigned number = first; number < first + rounds && good; number++) {
        uint32_t got = number;
        value.len = value_of(number, (char *)value.data);
        good = store_begin(s) == STORE_OK;
        for (unsigned i = 0; i < SECRETS && good; i++) {
            char path[16];
            snprintf(path, sizeof path, "dir/s%u", i);
            good = store_put(s, path, &value, true, &got) == STORE_OK && got == number;
        }
        if (good && number % 3 == 0)
            good = store_put(s, "dir/x", &value, true, &got) == STORE_OK;
        if (good && number % 3 == 1 && number > first + 2)
            good = store_remove(s, "dir/x", STORE_RECOVERY_S) == STORE_OK &&
                   store_purge(s, "dir/x") == STORE_OK;
        good = good && store_commit(s) == STORE_OK;
    }
    secbuf_release(&value);
    return good;
}

static void *write_always(void *arg)
{
    struct shared *sh = arg;
    if (!write_rounds(sh->writer, 2, COMMITS))
        wrong(sh, "write", store_fault()->code);
    return NULL;
}

/* Readers and the follower, for as long as `write` takes. */
static void run(struct shared *sh, void (*write)(struct shared *sh, void *arg), void *arg)
{
    pthread_t threads[READERS + 1];
    char text[4096];
    int fd = -1;

    sh->store = open_store(sh->f, STORE_FOLLOW);
    sh->directory = resolve(sh->store, "dir").node;
    assert_ok(store_watch(sh->store, &fd));
    for (size_t i = 0; i <= READERS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < READERS ? read_always : follow_always, sh), 0);
    write(sh, arg);
    atomic_store(&sh->done, true);
    for (size_t i = 0; i <= READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    assert_int_equal(atomic_load(&sh->wrong), 0);
    assert_true(atomic_load(&sh->reads) > 100);
    assert_true(atomic_load(&sh->refreshes) > 5);
    assert_ok(store_refresh(sh->store, NULL));
    assert_int_equal(resolve(sh->store, "dir/s0").number, 1 + COMMITS);
    assert_value(sh->store, "dir/s0", text, value_of(1 + COMMITS, text));
    store_close(sh->store);
}

static void first_versions(const struct fixture *f)
{
    struct store *s = open_store(f, STORE_READ_WRITE);
    make_directory(s, "dir");
    assert_true(write_rounds(s, 1, 1));
    store_close(s);
}

static void wait_for_thread(struct shared *sh, void *arg)
{
    pthread_t writer;
    (void)arg;
    assert_int_equal(pthread_create(&writer, NULL, write_always, sh), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
}

static void test_writer_in_another_thread(void **state)
{
    struct shared sh = {.f = *state};
    first_versions(sh.f);
    sh.writer = open_store(sh.f, STORE_READ_WRITE);
    run(&sh, wait_for_thread, NULL);
    store_close(sh.writer);
    assert_ok(try_load(sh.f));
}

/* The process is made before SQLite has the file open here. */
struct process {
    pid_t pid;
    int go;
};

static struct process start_process(const struct fixture *f)
{
    struct process p;
    int go[2];
    char byte;
    assert_int_equal(pipe(go), 0);
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        struct store *s = open_store(f, STORE_READ_WRITE);
        bool good = write_rounds(s, 2, COMMITS);
        store_close(s);
        _exit(good ? 0 : 1);
    }
    close(go[0]);
    p.go = go[1];
    return p;
}

static void wait_for_process(struct shared *sh, void *arg)
{
    struct process *p = arg;
    int status = -1;
    (void)sh;
    assert_int_equal(write(p->go, "g", 1), 1);
    close(p->go);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_int_equal(status, 0);
}

static void test_writer_in_another_process(void **state)
{
    struct shared sh = {.f = *state};
    struct process p = start_process(sh.f);
    first_versions(sh.f);
    run(&sh, wait_for_process, &p);
    assert_ok(try_load(sh.f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_writer_in_another_thread),
        store_test(test_writer_in_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
