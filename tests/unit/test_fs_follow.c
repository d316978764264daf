/*
 * A follower whose memory runs out while it applies a change: it ends its process, and the next one
 * loads the change and tells of it. Those whom it tells are replaced, as is what asks for memory.
 */
#include "anchor.h"
#include "changes.h"
#include "fault.h"
#include "follow.h"
#include "helpers.h"
#include "status.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_S 60

/* What the processes have in common. */
struct shared {
    struct kept kept;
    _Atomic bool fails;     /* to note a change */
    _Atomic unsigned told;  /* changes that were told, */
    _Atomic uint64_t which; /* the version of the last one, */
    _Atomic bool missed;    /* and whether it was one that a former process did not tell */
};

static struct shared *shared;

enum store_err __real_changes_add(struct store_changes *changes, struct store_change change,
                                  const char *name);
enum store_err __wrap_changes_add(struct store_changes *changes, struct store_change change,
                                  const char *name);
bool __wrap_serve_changes(struct serve *serve, struct store_changes *changes, bool missed,
                          int stop_fd);
void __wrap_serve_cut_off(struct serve *serve, const struct store_changes *changes);

enum store_err __wrap_changes_add(struct store_changes *changes, struct store_change change,
                                  const char *name)
{
    if (shared->fails)
        return fault(STORE_ERR_NO_MEMORY, "follow", "the store", NULL);
    return __real_changes_add(changes, change, name);
}

bool __wrap_serve_changes(struct serve *serve, struct store_changes *changes, bool missed,
                          int stop_fd)
{
    (void)serve;
    (void)stop_fd;
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->items[i].kind != STORE_SECRET)
            continue;
        shared->which = changes->items[i].new_version;
        shared->missed = missed;
        shared->told++;
    }
    return true;
}

void __wrap_serve_cut_off(struct serve *serve, const struct store_changes *changes)
{
    (void)serve;
    (void)changes;
}

/* ---- Processes that follow ----------------------------------------------- */

/* As a worker does: load, say so, and follow until `end` is readable. */
static int follow_until(const struct fixture *f, int ready, int end)
{
    struct pollfd fd = {.fd = end, .events = POLLIN};
    struct anchor_file anchor;
    struct store *s = NULL;
    struct follow *follow = NULL;
    int watch_fd = -1;

    alarm(WAIT_S);
    assert_ok(store_open(f->path, STORE_FOLLOW, &s));
    assert_ok(store_watch(s, &watch_fd));
    assert_ok(store_unlock(s, &f->credential));
    assert_ok(anchor_in_memory(&(struct anchor_file){.fd = -1}, &anchor));
    anchor_use(s, &anchor, true);
    assert_ok(store_load(s));
    if (shared->kept.applied == 0)
        shared->kept.applied = store_generation(s);
    assert_true(follow_start(s, NULL, NULL, &shared->kept, watch_fd, &follow));
    assert_int_equal(write(ready, "r", 1), 1);
    assert_int_equal(poll(&fd, 1, -1), 1);
    follow_stop(follow);
    store_close(s);
    return STATUS_DONE;
}

struct process {
    pid_t pid;
    int end; /* closed: it is to end */
};

static struct process start(const struct fixture *f)
{
    int ready[2];
    int end[2];
    char byte;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(end[1]);
        _exit(follow_until(f, ready[1], end[0]));
    }
    close(ready[1]);
    close(end[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return (struct process){pid, end[1]};
}

static int exit_status(const struct process *p)
{
    int status = 0;
    pid_t pid;

    do
        pid = waitpid(p->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    assert_int_equal(pid, p->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void await_generation(uint64_t generation)
{
    for (int i = 0; i < WAIT_S * 100 && shared->kept.applied != generation; i++)
        poll(NULL, 0, 10);
    assert_int_equal(shared->kept.applied, generation);
}

static int share(void **state)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? -1 : fixture_setup(state);
}

static int unshare_again(void **state)
{
    munmap(shared, sizeof *shared);
    return fixture_teardown(state);
}

static void test_the_next_one_goes_on(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    put_text(s, "a", "first");
    uint64_t before = store_generation(s);

    struct process p = start(f);
    await_generation(before);
    shared->fails = true;
    put_text(s, "a", "second");
    assert_int_equal(exit_status(&p), STATUS_FAILED);
    close(p.end);
    assert_int_equal(shared->kept.applied, before);
    assert_int_equal(shared->kept.degraded.code, STORE_ERR_NO_MEMORY);
    assert_int_equal(shared->told, 0);

    shared->fails = false;
    p = start(f);
    await_generation(store_generation(s));
    assert_int_equal(shared->told, 1);
    assert_int_equal(shared->which, resolve(s, "a").version);
    assert_true(shared->missed);
    put_text(s, "a", "third");
    await_generation(store_generation(s));
    assert_int_equal(shared->told, 2);
    assert_false(shared->missed);
    assert_int_equal(shared->kept.degraded.code, STORE_OK);
    close(p.end);
    assert_int_equal(exit_status(&p), STATUS_DONE);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_next_one_goes_on, share, unshare_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
