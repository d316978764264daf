/*
 * The anchor: its bytes, what it refuses, how it advances and never goes back, what is left of it
 * when the power goes or somebody meddles with it, and accepting. Writes can be torn or fail, and
 * the clock can stand still.
 */
#include "anchor.h"
#include "anchor_slots.h"
#include "changes.h"
#include "helpers.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

ssize_t __real_pwrite64(int fd, const void *bytes, size_t len, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t len, off_t at);
int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);

static size_t torn = SIZE_MAX; /* bytes that a write gets to the file */
static int failing;            /* errno of every write, or 0 */
static time_t clock_s;         /* the time, or 0 for that of the machine */

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    if (failing) {
        errno = failing;
        return -1;
    }
    return __real_pwrite64(fd, bytes, len < torn ? len : torn, at) < 0 ? -1 : (ssize_t)len;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
    if (clock_s == 0 || id != CLOCK_REALTIME)
        return __real_clock_gettime(id, ret);
    *ret = (struct timespec){.tv_sec = clock_s};
    return 0;
}

/* ---- Stores with anchors -------------------------------------------------- */

static void anchor_path(const struct fixture *f, char ret_path[256])
{
    struct store *s = open_unlocked(f, STORE_READ_ONLY);
    int at = snprintf(ret_path, 256, "%s/anchor/", f->folder);
    for (int i = 0; i < STORE_UUID_BYTES; i++)
        at += snprintf(ret_path + at, 3, "%02x", store_uuid(s)[i]);
    store_close(s);
}

static int anchored_setup(void **state)
{
    torn = SIZE_MAX;
    failing = 0;
    clock_s = 0;
    return fixture_setup(state);
}

static int anchored_teardown(void **state)
{
    char path[256];
    anchor_path(*state, path);
    unlink(path);
    return fixture_teardown(state);
}
#define anchor_test(f) cmocka_unit_test_setup_teardown(f, anchored_setup, anchored_teardown)

/* Not loaded yet. */
static struct store *open_with_anchor(const struct fixture *f, enum store_access access, bool check)
{
    struct store *s = open_unlocked(f, access);
    struct anchor_file file;
    assert_ok(anchor_open(store_path(s), store_uuid(s), NULL, &file));
    assert_true(file.fd >= 0 && file.writable);
    anchor_use(s, &file, check);
    return s;
}

static struct store *open_anchored(const struct fixture *f)
{
    struct store *s = open_with_anchor(f, STORE_READ_WRITE, true);
    assert_ok(store_load(s));
    return s;
}

static enum store_err try_anchored(const struct fixture *f)
{
    struct store *s = open_with_anchor(f, STORE_READ_ONLY, true);
    enum store_err err = store_load(s);
    store_close(s);
    return err;
}

static void check_verdict(const struct fixture *f, enum anchor_verdict expected,
                          uint64_t generation)
{
    struct store *s = open_with_anchor(f, STORE_READ_ONLY, false);
    struct anchor_state state = {0};
    assert_ok(store_load(s));
    anchor_compare(s, &state);
    assert_int_equal(state.verdict, expected);
    assert_int_equal(state.generation, generation);
    store_close(s);
}

static void keep(const struct fixture *f, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    copy_behind(f->path, path);
}

static void put_back(const struct fixture *f, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    copy_behind(path, f->path);
}

/* A commit of a process of its own, so that the file is whole afterwards. */
static void commit(const struct fixture *f, const char *text)
{
    struct store *s = open_anchored(f);
    put_text(s, "a", text);
    assert_false(anchor_is_late(s));
    store_close(s);
}

/* A commit of somebody without the anchor. */
static void branch(const struct fixture *f, int commits)
{
    struct store *s = open_store(f, STORE_READ_WRITE);
    for (int i = 0; i < commits; i++)
        put_text(s, "a", i % 2 ? "theirs" : "branch");
    store_close(s);
}

static void commit_elsewhere(const struct fixture *f, const char *text)
{
    struct store *s = open_store(f, STORE_READ_WRITE);
    put_text(s, "a", text);
    store_close(s);
}

/* ---- Its bytes ------------------------------------------------------------- */

static void test_vector(void **state)
{
    (void)state;
    size_t len;
    unsigned char bytes[ANCHOR_SLOT_BYTES];
    unsigned number = 9;
    enum anchor_content content;
    struct seal_keys keys = {0};
    struct anchor_slot back = {0};
    struct anchor_slot slot = {7, 21, 1700000000LL * 1000000000, {0}};
    SECBUF_AUTO struct secbuf root_key = secret_of(vector("root_key", &len), STORE_KEY_BYTES);
    assert_ok(seal_keys_derive(&keys, &root_key, vector("uuid", &len)));
    const unsigned char *record = vector("record_root", &len);
    seal_root_hash(&keys, record, len, slot.root_hash);
    assert_memory_equal(slot.root_hash, vector("root_hash", &len), sizeof slot.root_hash);

    char path[] = "/tmp/secretfs-unit.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    assert_ok(anchor_slots_write(fd, &keys, 1, &slot));
    assert_int_equal(pread(fd, bytes, sizeof bytes, ANCHOR_SLOT_DISTANCE), sizeof bytes);
    assert_memory_equal(bytes, vector("anchor_slot", &len), sizeof bytes);
    assert_int_equal(len, sizeof bytes);
    assert_ok(anchor_slots_read(fd, &keys, &content, &back, &number));
    assert_int_equal(content, ANCHOR_READ);
    assert_int_equal(number, 1);
    assert_memory_equal(&back, &slot, sizeof slot);
    for (size_t i = 0; i < sizeof bytes; i += 9) {
        bytes[i] ^= 1;
        assert_int_equal(pwrite(fd, bytes, sizeof bytes, ANCHOR_SLOT_DISTANCE), sizeof bytes);
        assert_ok(anchor_slots_read(fd, &keys, &content, &back, &number));
        assert_int_equal(content, ANCHOR_BROKEN);
        bytes[i] ^= 1;
    }
    close(fd);
    seal_keys_release(&keys);
}

/* ---- What it refuses ------------------------------------------------------ */

static void test_first_use_makes_it(void **state)
{
    const struct fixture *f = *state;
    char path[256];
    struct stat st;

    anchor_path(f, path);
    check_verdict(f, ANCHOR_NONE, 0);
    assert_ok(try_anchored(f));
    check_verdict(f, ANCHOR_SAME, 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    strrchr(path, '/')[0] = '\0';
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
}

static void test_every_older_state_is_refused(void **state)
{
    const struct fixture *f = *state;
    char name[16];
    char text[16];

    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "old%d", i);
        snprintf(text, sizeof text, "text %d", i);
        commit(f, text);
        keep(f, name);
    }
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "old%d", i);
        put_back(f, name);
        assert_error(try_anchored(f), STORE_ERR_ANCHOR);
        assert_string_equal(store_fault()->reason, "an older state was put in its place");
        snprintf(text, sizeof text, ", %d behind", 7 - i);
        assert_non_null(strstr(store_fault()->object, text));
        check_verdict(f, ANCHOR_OLDER, 9);
    }
    put_back(f, "old7");
    assert_ok(try_anchored(f));
}

static void test_another_state_of_the_same_generation_is_refused(void **state)
{
    const struct fixture *f = *state;

    commit(f, "first");
    keep(f, "base");
    commit(f, "mine");
    put_back(f, "base");
    commit_elsewhere(f, "theirs");
    assert_error(try_anchored(f), STORE_ERR_ANCHOR);
    check_verdict(f, ANCHOR_FORKED, 3);
    /* What FORMAT.md says: one hash can't tell that this is not what was seen, gone on. */
    commit_elsewhere(f, "theirs, later");
    check_verdict(f, ANCHOR_NEWER, 3);
}

static void test_a_later_state_is_followed(void **state)
{
    const struct fixture *f = *state;

    commit(f, "first");
    commit_elsewhere(f, "second");
    check_verdict(f, ANCHOR_NEWER, 2);
    assert_ok(try_anchored(f));
    check_verdict(f, ANCHOR_SAME, 3);
}

static void test_a_follower_that_has_to_load_again_refuses_too(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_anchored(f);
    struct store *ahead = open_anchored(f);

    put_text(ahead, "a", "later"); /* the anchor knows of it */
    assert_ok(store_begin(s));
    assert_ok(store_mkdir(s, "dir"));
    store_rollback(s);
    assert_ok(store_begin(s)); /* loads again: the present state, which fits */
    store_rollback(s);
    store_close(ahead);
    store_close(s);
}

/* ---- Live -------------------------------------------------------------------- */

/* Have SQLite write a kept state into the file, as a commit that others see. */
static void restore_live(const struct fixture *f, const char *name)
{
    char path[160];
    sqlite3 *from = NULL;
    sqlite3 *to = NULL;

    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    assert_int_equal(sqlite3_open(path, &from), SQLITE_OK);
    assert_int_equal(sqlite3_open(f->path, &to), SQLITE_OK);
    sqlite3_exec(to, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    assert_non_null(backup);
    assert_int_equal(sqlite3_backup_step(backup, -1), SQLITE_DONE);
    assert_int_equal(sqlite3_backup_finish(backup), SQLITE_OK);
    assert_int_equal(sqlite3_close(from), SQLITE_OK);
    assert_int_equal(sqlite3_close(to), SQLITE_OK);
}

#define HISTORY 50
#define STATES 100

/* Every state of a history, and as many branches of it: some as long, some longer. */
static void test_a_follower_refuses_a_hundred_states(void **state)
{
    const struct fixture *f = *state;
    struct store_attr before;
    char name[16];

    for (int i = 0; i <= HISTORY; i++) {
        snprintf(name, sizeof name, "state%d", i);
        commit(f, name);
        keep(f, i == HISTORY ? "now" : name);
    }
    for (int i = HISTORY; i < STATES; i++) {
        snprintf(name, sizeof name, "state%d", i - HISTORY);
        put_back(f, name);
        branch(f, 1 + i % 8);
        snprintf(name, sizeof name, "state%d", i);
        keep(f, name);
    }
    put_back(f, "now");
    struct store *s = open_anchored(f);
    before = resolve(s, "a");
    for (int i = 0; i < STATES; i++) {
        snprintf(name, sizeof name, "state%d", i);
        restore_live(f, name);
        assert_error(store_refresh(s, NULL), STORE_ERR_INTEGRITY);
        assert_int_equal(resolve(s, "a").version, before.version);
        assert_int_equal(store_generation(s), HISTORY + 2);
    }
    restore_live(f, "now");
    assert_ok(store_refresh(s, NULL));
    assert_text(s, "a", "state50");
    store_close(s);
}

/* ---- Advancing ------------------------------------------------------------- */

/* Reads and writes of the anchor by hand. */
static void with_slots(const struct fixture *f, struct anchor_slot *ret_slot, unsigned *ret_number)
{
    struct store *s = open_with_anchor(f, STORE_READ_ONLY, false);
    enum anchor_content content;
    assert_ok(anchor_slots_read(s->anchor.fd, &s->keys, &content, ret_slot, ret_number));
    assert_int_equal(content, ANCHOR_READ);
    store_close(s);
}

static void test_slots_take_turns_and_torn_writes_leave_the_other(void **state)
{
    const struct fixture *f = *state;
    struct anchor_slot slot;
    unsigned number;
    unsigned before = 0;

    commit(f, "first");
    with_slots(f, &slot, &before);
    commit(f, "second");
    with_slots(f, &slot, &number);
    assert_int_equal(number, 1 - before);
    for (torn = 0; torn < ANCHOR_SLOT_BYTES; torn += 7) {
        struct store *s = open_store(f, STORE_READ_WRITE);
        put_text(s, "a", "torn");
        put_text(s, "a", "torn again");
        store_close(s);
        s = open_anchored(f); /* would advance it */
        store_close(s);
        with_slots(f, &slot, &number);
        assert_int_equal(slot.generation, 3);
    }
    torn = SIZE_MAX;
    assert_ok(try_anchored(f));
    with_slots(f, &slot, &number);
    assert_true(slot.generation > 3);
    check_verdict(f, ANCHOR_SAME, slot.generation);
}

static void test_a_failing_write_fails_no_commit(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_anchored(f);

    assert_false(anchor_is_late(s));
    failing = ENOSPC;
    put_text(s, "a", "kept");
    assert_true(anchor_is_late(s));
    assert_error(anchor_advance(s, 0), STORE_ERR_NO_SPACE);
    failing = EIO;
    assert_error(anchor_advance(s, 0), STORE_ERR_IO);
    failing = 0;
    check_verdict(f, ANCHOR_NEWER, 1);
    assert_ok(anchor_advance(s, 0));
    check_verdict(f, ANCHOR_SAME, 2);
    assert_text(s, "a", "kept");
    store_close(s);
}

static void test_it_never_goes_back(void **state)
{
    const struct fixture *f = *state;
    struct store *old = open_anchored(f);
    struct store *s = open_anchored(f);

    put_text(s, "a", "later");
    assert_ok(anchor_advance(old, 0));
    check_verdict(f, ANCHOR_SAME, 2);
    store_close(old);
    store_close(s);
}

static void test_who_writes_it_is_waited_for(void **state)
{
    const struct fixture *f = *state;
    struct store *holder = open_anchored(f);
    struct store *s = open_anchored(f);

    assert_ok(anchor_slots_lock(holder->anchor.fd, 0));
    commit_elsewhere(f, "later");
    struct store *late = open_with_anchor(f, STORE_READ_ONLY, false);
    assert_ok(store_load(late));
    assert_error(anchor_advance(late, 20), STORE_ERR_BUSY);
    anchor_slots_unlock(holder->anchor.fd);
    assert_ok(anchor_advance(late, 0));
    store_close(late);
    store_close(s);
    store_close(holder);
}

static void test_a_lock_does_not_outlive_its_process(void **state)
{
    const struct fixture *f = *state;
    struct store *killed = open_anchored(f);
    struct store *other = open_anchored(f);
    struct store *next = open_unlocked(f, STORE_READ_ONLY);
    struct anchor_file shared = {.fd = dup(killed->anchor.fd), .writable = true};

    assert_ok(anchor_slots_lock(killed->anchor.fd, 0));
    store_close(killed); /* but not the last descriptor */
    assert_error(anchor_slots_lock(other->anchor.fd, 0), STORE_ERR_BUSY);
    anchor_use(next, &shared, true);
    assert_ok(anchor_slots_lock(other->anchor.fd, 0));
    store_close(next);
    store_close(other);
}

#define WRITERS 4
#define COMMITS 12

static void *write_many(void *arg)
{
    const struct fixture *f = arg;
    struct store *s = open_anchored(f);
    char path[32];

    for (int i = 0; i < COMMITS; i++) {
        snprintf(path, sizeof path, "x%lx", (unsigned long)pthread_self());
        put_text(s, path, i % 2 ? "odd" : "even");
    }
    assert_false(anchor_is_late(s));
    store_close(s);
    return NULL;
}

static void test_writers_do_not_cross(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, f), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    check_verdict(f, ANCHOR_SAME, 1 + WRITERS * COMMITS);
}

/* ---- Meddling ---------------------------------------------------------------- */

static void overwrite(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void test_a_damaged_one_is_refused(void **state)
{
    const struct fixture *f = *state;
    char path[256];
    unsigned char junk[ANCHOR_FILE_MAX];

    anchor_path(f, path);
    commit(f, "first");
    commit(f, "second");
    memset(junk, 0xa5, sizeof junk);
    overwrite(path, 0, junk, sizeof junk);
    assert_error(try_anchored(f), STORE_ERR_ANCHOR);
    assert_string_equal(store_fault()->reason, "it is damaged, or not of this store");
    check_verdict(f, ANCHOR_DAMAGED, 0);
    memset(junk, 0, sizeof junk); /* made, and then the power went */
    overwrite(path, 0, junk, sizeof junk);
    assert_ok(try_anchored(f));
    assert_int_equal(unlink(path), 0); /* as if it were the first use */
    assert_ok(try_anchored(f));
    check_verdict(f, ANCHOR_SAME, 3);
}

/* As those from after a rekey are to a copy from before. */
static void test_one_sealed_by_another_key_is_told(void **state)
{
    const struct fixture *f = *state;
    char path[256];

    anchor_path(f, path);
    commit(f, "first");
    commit(f, "second");
    for (off_t i = 0; i < 2; i++)
        overwrite(path, i * ANCHOR_SLOT_DISTANCE + ANCHOR_SLOT_BYTES - 2, "??", 2);
    assert_error(try_anchored(f), STORE_ERR_ANCHOR);
    assert_string_equal(store_fault()->reason,
                        "its seal does not open: the store was rekeyed since, or it is damaged");
    check_verdict(f, ANCHOR_DAMAGED, 0);
}

static void test_one_of_another_store_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct fixture other = *f;
    char path[256];
    char other_path[256];

    anchor_path(f, path);
    commit(f, "first");
    snprintf(other.path, sizeof other.path, "%s/other.db", f->folder);
    assert_ok(store_create(other.path, &other.credential));
    commit(&other, "theirs");
    anchor_path(&other, other_path);
    copy_behind(other_path, path);
    assert_error(try_anchored(f), STORE_ERR_ANCHOR);
    unlink(other_path);
}

static void test_what_is_no_file_of_the_owner_is_not_opened(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_unlocked(f, STORE_READ_ONLY);
    struct anchor_file file;
    char path[256];
    char folder[256];

    anchor_path(f, path);
    snprintf(folder, sizeof folder, "%s/anchor", f->folder);
    assert_int_equal(symlink("/tmp", folder), 0);
    assert_int_not_equal(anchor_open(f->path, store_uuid(s), NULL, &file), STORE_OK);
    assert_int_equal(file.fd, -1);
    unlink(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_not_equal(anchor_open(f->path, store_uuid(s), NULL, &file), STORE_OK);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_error(anchor_open(f->path, store_uuid(s), NULL, &file), STORE_ERR_DENIED);
    assert_error(anchor_open(f->path, store_uuid(s), "/nonexistent", &file), STORE_ERR_NO_STORE);
    assert_int_equal(file.fd, -1);
    store_close(s);
}

static void test_a_copy_in_memory(void **state)
{
    const struct fixture *f = *state;
    struct anchor_file none = {.fd = -1};
    struct anchor_file copy;
    struct store *s;

    commit(f, "first");
    keep(f, "old");
    commit(f, "second");
    s = open_with_anchor(f, STORE_READ_ONLY, true);
    assert_ok(anchor_in_memory(&s->anchor, &copy));
    anchor_use(s, &copy, true);
    assert_ok(store_load(s));
    store_close(s);
    put_back(f, "old");
    s = open_with_anchor(f, STORE_READ_ONLY, true);
    assert_ok(anchor_in_memory(&s->anchor, &copy));
    anchor_use(s, &copy, true);
    assert_error(store_load(s), STORE_ERR_ANCHOR);
    assert_ok(anchor_in_memory(&none, &copy));
    anchor_use(s, &copy, true);
    assert_ok(store_load(s));
    store_close(s);
}

/* ---- Accepting ----------------------------------------------------------------- */

static void accept_it(const struct fixture *f, enum anchor_verdict expected)
{
    struct store *s = open_with_anchor(f, STORE_READ_WRITE, false);
    struct anchor_state before = {0};
    assert_ok(store_load(s));
    assert_ok(anchor_accept(s, &before));
    assert_int_equal(before.verdict, expected);
    store_close(s);
    assert_ok(try_anchored(f));
}

static void test_an_accepted_state_is_beyond_the_one_given_up(void **state)
{
    const struct fixture *f = *state;
    struct store *s;

    commit(f, "first");
    keep(f, "old");
    commit(f, "second");
    s = open_anchored(f);
    make_directory(s, "dir");
    uint64_t next_id = store_next_id(s);
    store_close(s);
    keep(f, "given up");
    put_back(f, "old");
    clock_s = 1700000000;
    accept_it(f, ANCHOR_OLDER);
    clock_s = 0;
    s = open_anchored(f);
    assert_text(s, "a", "first");
    assert_int_equal(store_generation(s), 5);
    assert_int_equal(store_next_id(s), next_id);
    struct anchor_acceptance a = anchor_accepted(s);
    assert_int_equal(a.generation, 5);
    assert_int_equal(a.accepted, 2);
    assert_int_equal(a.seen, 4);
    assert_int_equal(a.time_ns, 1700000000LL * 1000000000);
    put_text(s, "a", "third"); /* which keeps the note */
    store_close(s);
    s = open_anchored(f);
    assert_int_equal(anchor_accepted(s).generation, 5);
    store_close(s);
    put_back(f, "given up");
    assert_error(try_anchored(f), STORE_ERR_ANCHOR);
}

static void test_accepting_a_fork_and_a_damaged_anchor(void **state)
{
    const struct fixture *f = *state;
    char path[256];
    unsigned char junk[ANCHOR_FILE_MAX];

    commit(f, "first");
    keep(f, "base");
    commit(f, "mine");
    put_back(f, "base");
    commit_elsewhere(f, "theirs");
    accept_it(f, ANCHOR_FORKED);
    anchor_path(f, path);
    memset(junk, 0xa5, sizeof junk);
    overwrite(path, 0, junk, sizeof junk);
    accept_it(f, ANCHOR_DAMAGED);
    check_verdict(f, ANCHOR_SAME, 5);
    accept_it(f, ANCHOR_SAME);
    commit_elsewhere(f, "later");
    accept_it(f, ANCHOR_NEWER);
    check_verdict(f, ANCHOR_SAME, 6);
    unlink(path);
    accept_it(f, ANCHOR_NONE);
    check_verdict(f, ANCHOR_SAME, 6);
}

static void test_accepting_needs_an_anchor_that_can_be_written(void **state)
{
    const struct fixture *f = *state;
    struct store *s = open_store(f, STORE_READ_WRITE);
    struct anchor_state before;

    assert_error(anchor_accept(s, &before), STORE_ERR_DENIED);
    assert_int_equal(store_generation(s), 1);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_vector),
        anchor_test(test_first_use_makes_it),
        anchor_test(test_every_older_state_is_refused),
        anchor_test(test_another_state_of_the_same_generation_is_refused),
        anchor_test(test_a_later_state_is_followed),
        anchor_test(test_a_follower_refuses_a_hundred_states),
        anchor_test(test_a_follower_that_has_to_load_again_refuses_too),
        anchor_test(test_slots_take_turns_and_torn_writes_leave_the_other),
        anchor_test(test_a_failing_write_fails_no_commit),
        anchor_test(test_it_never_goes_back),
        anchor_test(test_who_writes_it_is_waited_for),
        anchor_test(test_a_lock_does_not_outlive_its_process),
        anchor_test(test_writers_do_not_cross),
        anchor_test(test_a_damaged_one_is_refused),
        anchor_test(test_one_sealed_by_another_key_is_told),
        anchor_test(test_one_of_another_store_is_refused),
        anchor_test(test_what_is_no_file_of_the_owner_is_not_opened),
        anchor_test(test_a_copy_in_memory),
        anchor_test(test_an_accepted_state_is_beyond_the_one_given_up),
        anchor_test(test_accepting_a_fork_and_a_damaged_anchor),
        anchor_test(test_accepting_needs_an_anchor_that_can_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
