/*
 * How long operations wait for another process's locks: a handle that follows no longer than
 * STORE_FOLLOW_WAIT_MS for all that queue at it together, any other up to 5 s.
 */
#include "changes.h"
#include "helpers.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READERS 8
#define SOON_MS 400 /* for what doesn't wait, on a busy machine; less than STORE_FOLLOW_WAIT_MS */

/* SQLite's locks in the -shm file: all eight, or the writer's alone. Its next byte is the one that
 * whoever has the store open holds. */
struct range {
    short start;
    short len;
};
static const struct range everything = {120, 8};
static const struct range writing = {120, 1};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void hold(const struct fixture *f, struct range range, int ready, unsigned ms)
{
    char path[128];
    snprintf(path, sizeof path, "%s-shm", f->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = range.start, .l_len = range.len};
    bool held = fd >= 0 && fcntl(fd, F_SETLKW, &lock) == 0 && write(ready, "h", 1) == 1;
    for (int64_t until = now_ms() + ms; held && now_ms() < until;)
        usleep(1000);
    _exit(held ? 0 : 1);
}

/* Another process that locks the store for some time. */
static pid_t lock_store(const struct fixture *f, struct range range, unsigned ms)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        hold(f, range, ready[1], ms);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void unlock_store(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* What reading the secret "a" comes to, and how long it takes. */
static enum store_err try_read(struct store *s, int64_t *ret_ms)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct store_attr attr;
    enum store_err err = store_resolve(s, "a", &attr);
    int64_t begun = now_ms();
    if (!err)
        err = store_read(s, attr.version, &value);
    *ret_ms = now_ms() - begun;
    return err;
}

static struct store *open_with_secret(const struct fixture *f, enum store_access access)
{
    struct store *s = open_store(f, STORE_READ_WRITE);
    put_text(s, "a", "value");
    store_close(s);
    s = open_store(f, access);
    assert_text(s, "a", "value");
    return s;
}

static void test_following_waits_once(void **state)
{
    const struct fixture *f = *state;
    struct store_changes changes = STORE_CHANGES_INIT;
    struct store *s = open_with_secret(f, STORE_FOLLOW);
    int64_t ms;

    for (int round = 0; round < 2; round++) {
        pid_t holder = lock_store(f, everything, 10000);
        assert_error(try_read(s, &ms), STORE_ERR_BUSY);
        assert_in_range(ms, STORE_FOLLOW_WAIT_MS - 50, STORE_FOLLOW_WAIT_MS + SOON_MS);
        int64_t begun = now_ms();
        assert_error(try_read(s, &ms), STORE_ERR_BUSY);
        assert_error(store_refresh(s, NULL), STORE_ERR_BUSY);
        assert_error(store_changed_since(s, 1, &changes), STORE_ERR_BUSY);
        assert_in_range(now_ms() - begun, 0, SOON_MS);
        unlock_store(holder);
        assert_text(s, "a", "value"); /* and whoever finds it locked next has all the time again */
    }
    store_changes_release(&changes);
    store_close(s);
}

/* The time is not over for good when nobody has tried since. */
static void test_an_old_lock_is_forgotten(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_with_secret(f, STORE_FOLLOW);
    int64_t ms;

    pid_t holder = lock_store(f, everything, 10000);
    assert_error(try_read(s, &ms), STORE_ERR_BUSY);
    unlock_store(holder);
    usleep((STORE_FOLLOW_WAIT_MS + 50) * 1000);
    holder = lock_store(f, everything, 200);
    assert_ok(try_read(s, &ms));
    assert_in_range(ms, 0, STORE_FOLLOW_WAIT_MS + SOON_MS);
    unlock_store(holder);
    store_close(s);
}

struct reader {
    pthread_t thread;
    struct store *store;
    enum store_err err;
    int64_t ms;
};

static void *read_once(void *arg)
{
    struct reader *r = arg;
    r->err = try_read(r->store, &r->ms);
    return NULL;
}

static void test_many_readers_wait_no_longer_than_one(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_with_secret(f, STORE_FOLLOW);
    struct reader readers[READERS];
    pid_t holder = lock_store(f, everything, 10000);

    for (size_t i = 0; i < READERS; i++) {
        readers[i].store = s;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_once, &readers[i]), 0);
    }
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].err, STORE_ERR_BUSY);
        assert_in_range(readers[i].ms, 0, STORE_FOLLOW_WAIT_MS + SOON_MS);
    }
    unlock_store(holder);
    store_close(s);
}

static void test_others_wait_longer(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_with_secret(f, STORE_READ_ONLY);
    struct store *writer = open_store(f, STORE_READ_WRITE);
    int64_t ms;

    pid_t holder = lock_store(f, everything, 1500);
    assert_ok(try_read(s, &ms));
    assert_in_range(ms, STORE_FOLLOW_WAIT_MS + 100, 5000);
    unlock_store(holder);
    holder = lock_store(f, writing, 1500);
    int64_t begun = now_ms();
    assert_ok(try_read(s, &ms)); /* a writer is in no reader's way */
    assert_in_range(ms, 0, SOON_MS);
    put_text(writer, "a", "new");
    assert_in_range(now_ms() - begun, STORE_FOLLOW_WAIT_MS + 100, 5000);
    unlock_store(holder);
    store_close(writer);
    store_close(s);
}

static void test_a_follower_writes_nothing(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_FOLLOW);
    assert_error(store_begin(s), STORE_ERR_DENIED);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_following_waits_once),
        store_test(test_an_old_lock_is_forgotten),
        store_test(test_many_readers_wait_no_longer_than_one),
        store_test(test_others_wait_longer),
        store_test(test_a_follower_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
