/*
 * A store of 500 secrets whose file, or write-ahead log, is damaged in every way that needs no
 * thought: bytes flipped, the end cut off, pages zeroed and exchanged. Whatever comes of it is a
 * refusal, or a state that was committed once, whole: never a wrong value or mode, a name that
 * seems absent or one too many, or a crash. A log cut short shows an earlier commit, as a crash of
 * the machine may; to tell that apart takes the anchor.
 *
 * There are too many bytes for every run. SECRETFS_DAMAGE_EVERY=N tries every Nth (1: all),
 * SECRETFS_DAMAGE_PAIRS=N every Nth pair of pages, beginning with number SECRETFS_DAMAGE_SHIFT
 * modulo N. There are as many processes at it as there are processors, each with a copy in a folder
 * of its own.
 */
#include "helpers.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRETS 500
#define FOLDERS 10
#define COMMITS 3 /* in the log; number k changes the secret CHANGED(k) */
#define CHANGED(k) (7 + 80 * (k))
#define PAGE_BYTES 4096
#define PATHS 32

#define EVERY_DEFAULT 127 /* primes, so that no column escapes */
#define PAIRS_DEFAULT 31
#define PROCESSES_MAX 16

struct bytes {
    unsigned char *data;
    size_t len;
};

/* What a process has found. */
struct tally {
    size_t right;   /* where nothing is refused, */
    size_t refused; /* and where something is */
};

struct scene {
    struct fixture f; /* a copy, with the path of the store that is damaged */
    char folder[64];
    char wal_path[112];
    struct bytes store;  /* everything in it, no log */
    struct bytes older;  /* … but the last COMMITS, */
    struct bytes wal;    /* which are in here */
    uint64_t generation; /* of `older` */
    size_t every;
    size_t shift;
    struct secbuf value;
    bool refuses;        /* what is at hand refuses a value, or all */
    struct tally *tally; /* of this process, in memory that all share */
    size_t processes;
    size_t process; /* the number of this one, from 0 */
    size_t turn;    /* numbers the trials */
};

/* ---- The store ----------------------------------------------------------- */

static void secret_path(int i, char path[static PATHS])
{
    snprintf(path, PATHS, "d%d/s%d", i % FOLDERS, i);
}

static void text_of(int i, bool changed, char text[static PATHS])
{
    snprintf(text, PATHS, "%s of %d", changed ? "newer" : "first", i);
}

static struct bytes read_file(const char *path)
{
    struct bytes b = {NULL, 0};
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    b.len = (size_t)st.st_size;
    b.data = malloc(b.len + 1);
    assert_non_null(b.data);
    assert_int_equal(read(fd, b.data, b.len), b.len);
    close(fd);
    return b;
}

static void write_file(const char *path, const unsigned char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

static void fill(struct store *s)
{
    char path[PATHS];
    char text[PATHS];
    uint32_t number;

    assert_ok(store_begin(s));
    for (int i = 0; i < FOLDERS; i++) {
        snprintf(path, sizeof path, "d%d", i);
        assert_ok(store_mkdir(s, path));
    }
    for (int i = 0; i < SECRETS; i++) {
        struct policy policy = policy_make((uint32_t)i, 0, 0400);
        secret_path(i, path);
        text_of(i, false, text);
        SECBUF_AUTO struct secbuf value = secret_of(text, strlen(text));
        assert_ok(store_put(s, path, &value, false, &number));
        assert_ok(store_set_policy(s, path, &policy));
    }
    assert_ok(store_commit(s));
}

static size_t setting(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    return text && text[0] ? strtoul(text, NULL, 10) : otherwise;
}

/* Files in memory where there are any: nothing here is to survive a crash of the machine. */
static void make_folder(struct scene *c)
{
    strcpy(c->folder, "/dev/shm/secretfs-unit.XXXXXX");
    if (mkdtemp(c->folder) == NULL) {
        strcpy(c->folder, "/tmp/secretfs-unit.XXXXXX");
        assert_non_null(mkdtemp(c->folder));
    }
    snprintf(c->f.path, sizeof c->f.path, "%s/store.db", c->folder);
    snprintf(c->wal_path, sizeof c->wal_path, "%s-wal", c->f.path);
}

static struct scene *make_scene(struct fixture *f)
{
    struct scene *c = calloc(1, sizeof *c);
    char path[PATHS];
    char text[PATHS];

    assert_non_null(c);
    c->f = *f;
    make_folder(c);
    assert_ok(store_create(c->f.path, &c->f.credential));
    struct store *s = open_store(&c->f, STORE_READ_WRITE);
    fill(s);
    assert_ok(store_compact(s, -1));
    c->generation = store_generation(s);
    c->older = read_file(c->f.path);
    for (int k = 0; k < COMMITS; k++) {
        secret_path(CHANGED(k), path);
        text_of(CHANGED(k), true, text);
        put_text(s, path, text);
    }
    c->wal = read_file(c->wal_path);
    assert_int_equal(store_generation(s), c->generation + COMMITS);
    store_close(s);
    c->store = read_file(c->f.path);
    c->every = setting("SECRETFS_DAMAGE_EVERY", EVERY_DEFAULT);
    c->shift = setting("SECRETFS_DAMAGE_SHIFT", 0) % c->every;
    c->tally = mmap(NULL, PROCESSES_MAX * sizeof *c->tally, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(c->tally != MAP_FAILED);
    return c;
}

static void remove_files(const struct scene *c)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char path[120];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", c->f.path, suffixes[i]);
        unlink(path);
    }
}

static void remove_folder(const struct scene *c)
{
    remove_files(c);
    assert_int_equal(rmdir(c->folder), 0);
}

static void end_scene(struct scene *c)
{
    remove_folder(c);
    secbuf_release(&c->value);
    munmap(c->tally, PROCESSES_MAX * sizeof *c->tally);
    free(c->store.data);
    free(c->older.data);
    free(c->wal.data);
    free(c);
}

/* ---- What comes of it ---------------------------------------------------- */

static bool is_refusal(enum store_err err)
{
    return err == STORE_ERR_INTEGRITY || err == STORE_ERR_FORMAT || err == STORE_ERR_KEY;
}

/* Whether secret number i had been changed by then. */
static bool changed_at(const struct scene *c, int i, uint64_t generation)
{
    return i % 80 == 7 && i / 80 < COMMITS && generation > c->generation + (uint64_t)(i / 80);
}

/* NULL, or what is wrong with what the store says of secret number i. */
static const char *look_at(struct scene *c, struct store *s, int i, uint64_t generation)
{
    bool changed = changed_at(c, i, generation);
    char path[PATHS];
    char text[PATHS];
    struct store_attr attr;

    secret_path(i, path);
    text_of(i, changed, text);
    if (store_resolve(s, path, &attr))
        return "a secret seems absent";
    if (attr.mode != 0400 || attr.uid != (uint32_t)i || attr.gid != 0 ||
        attr.size_bytes != strlen(text) || attr.number != (changed ? 2 : 1))
        return "an attribute is wrong";
    enum store_err err = store_read(s, attr.version, &c->value);
    c->refuses |= err != STORE_OK;
    if (err)
        return is_refusal(err) ? NULL : "a value is refused for a wrong reason";
    if (c->value.len != strlen(text) || memcmp(c->value.data, text, c->value.len) != 0)
        return "a value is wrong";
    return NULL;
}

static const char *look_at_all(struct scene *c, struct store *s)
{
    uint64_t generation = store_generation(s);
    struct store_stats stats;
    const char *wrong = NULL;

    store_stats(s, &stats);
    if (generation < c->generation || generation > c->generation + COMMITS)
        return "it is of no commit that there was";
    if (stats.secrets != SECRETS || stats.directories != FOLDERS + 1 || stats.deleted != 0)
        return "it has more or less than it had";
    /* One for all of them: what each costs, many times over, is its locks. */
    if (db_begin_read(s->db))
        return "it can't be read";
    for (int i = 0; i < SECRETS && wrong == NULL; i++)
        wrong = look_at(c, s, i, generation);
    db_end(s->db);
    return wrong;
}

/* Open the damaged file; with `what` and `at` in the message if that does any harm. */
static void judge(struct scene *c, const char *what, size_t at, size_t with)
{
    const char *wrong = NULL;
    struct store *s = NULL;
    enum store_err err = store_open(c->f.path, STORE_READ_ONLY, &s);

    if (!err)
        err = store_unlock(s, &c->f.credential);
    if (!err)
        err = store_load(s);
    c->refuses = err != STORE_OK;
    if (!err)
        wrong = look_at_all(c, s);
    else if (!is_refusal(err))
        wrong = store_strerror(err);
    store_close(s);
    if (wrong)
        fail_msg("%s %zu (%zu): %s", what, at, with, wrong);
    *(c->refuses ? &c->tally[c->process].refused : &c->tally[c->process].right) += 1;
}

/* ---- Sharing the work ---------------------------------------------------- */

/* Whether the trial at hand is this process's. */
static bool is_mine(struct scene *c)
{
    return c->turn++ % c->processes == c->process;
}

/* As process number `process`, which ends where it fails. */
static pid_t begin(struct scene *c, size_t process, void (*trials)(struct scene *c))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid != 0)
        return pid;
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    c->process = process;
    make_folder(c);
    trials(c);
    remove_folder(c);
    secbuf_release(&c->value);
    exit(secbuf_live() == 1 ? 0 : 1); /* the fixture's key */
}

/* Have all trials done and return what was found. */
static struct tally share_out(struct scene *c, const char *what, void (*trials)(struct scene *c))
{
    struct tally sum = {0, 0};
    pid_t pids[PROCESSES_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    bool failed = false;

    memset(c->tally, 0, PROCESSES_MAX * sizeof *c->tally);
    c->processes = processors > PROCESSES_MAX ? PROCESSES_MAX : (size_t)processors;
    for (size_t i = 0; i < c->processes; i++)
        pids[i] = begin(c, i, trials);
    for (size_t i = 0; i < c->processes; i++) {
        int status = 1;
        failed |= waitpid(pids[i], &status, 0) != pids[i] || status != 0;
        sum.right += c->tally[i].right;
        sum.refused += c->tally[i].refused;
    }
    assert_false(failed);
    print_message("%s: %zu tried, %zu refused, %zu harmless (shift %zu)\n", what,
                  sum.refused + sum.right, sum.refused, sum.right, c->shift);
    return sum;
}

/* ---- Bytes --------------------------------------------------------------- */

static unsigned char flip_of(size_t at)
{
    return (unsigned char)(1U << (at * 5 / 7 % 8));
}

static void put_files(const struct scene *c, const struct bytes *store, const struct bytes *wal)
{
    remove_files(c);
    write_file(c->f.path, store->data, store->len);
    if (wal)
        write_file(c->wal_path, wal->data, wal->len);
}

static void flip_bytes(struct scene *c)
{
    for (size_t at = c->shift; at < c->store.len; at += c->every) {
        if (!is_mine(c))
            continue;
        c->store.data[at] ^= flip_of(at);
        put_files(c, &c->store, NULL);
        judge(c, "flipped byte", at, flip_of(at));
        c->store.data[at] ^= flip_of(at);
    }
}

static void flip_bytes_of_log(struct scene *c)
{
    for (size_t at = c->shift; at < c->wal.len; at += c->every) {
        if (!is_mine(c))
            continue;
        c->wal.data[at] ^= flip_of(at);
        put_files(c, &c->older, &c->wal);
        judge(c, "flipped byte of the log", at, flip_of(at));
        c->wal.data[at] ^= flip_of(at);
    }
}

static void flip_nothing(struct scene *c)
{
    put_files(c, &c->older, &c->wal);
    judge(c, "nothing", 0, 0);
}

static void test_flipped_bytes(void **state)
{
    struct scene *c = make_scene(*state);

    struct tally found = share_out(c, "flipped bytes of the file", flip_bytes);
    assert_true(found.refused > found.right);
    share_out(c, "flipped bytes of the log", flip_bytes_of_log);
    found = share_out(c, "nothing", flip_nothing);
    assert_int_equal(found.right, c->processes);
    end_scene(c);
}

static void cut_file(struct scene *c)
{
    struct bytes cut = c->store;

    for (cut.len = 0; cut.len < c->store.len; cut.len += 512) {
        if (!is_mine(c))
            continue;
        put_files(c, &cut, NULL);
        judge(c, "the file cut to", cut.len, 0);
    }
}

static void cut_log(struct scene *c)
{
    struct bytes cut = c->wal;

    for (cut.len = 0; cut.len < c->wal.len; cut.len += 512) {
        if (!is_mine(c))
            continue;
        put_files(c, &c->older, &cut);
        judge(c, "the log cut to", cut.len, 0);
    }
}

static void test_cut_short(void **state)
{
    struct scene *c = make_scene(*state);

    struct tally found = share_out(c, "the file cut every 512 bytes", cut_file);
    assert_true(found.right <= 1);
    found = share_out(c, "the log cut every 512 bytes", cut_log);
    assert_int_equal(found.refused, 0);
    end_scene(c);
}

/* ---- Pages --------------------------------------------------------------- */

static unsigned char *page(const struct bytes *b, size_t number)
{
    return b->data + number * PAGE_BYTES;
}

static void zero_pages(struct scene *c)
{
    unsigned char kept[PAGE_BYTES];

    for (size_t i = 0; i < c->store.len / PAGE_BYTES; i++) {
        if (!is_mine(c))
            continue;
        memcpy(kept, page(&c->store, i), PAGE_BYTES);
        memset(page(&c->store, i), 0, PAGE_BYTES);
        put_files(c, &c->store, NULL);
        judge(c, "zeroed page", i, 0);
        memcpy(page(&c->store, i), kept, PAGE_BYTES);
    }
}

static void test_zeroed_pages(void **state)
{
    struct scene *c = make_scene(*state);

    share_out(c, "zeroed pages", zero_pages);
    end_scene(c);
}

static void exchange(const struct bytes *b, size_t i, size_t j)
{
    unsigned char kept[PAGE_BYTES];
    memcpy(kept, page(b, i), PAGE_BYTES);
    memcpy(page(b, i), page(b, j), PAGE_BYTES);
    memcpy(page(b, j), kept, PAGE_BYTES);
}

static void exchange_pages(struct scene *c)
{
    size_t pages = c->store.len / PAGE_BYTES;
    size_t every = setting("SECRETFS_DAMAGE_PAIRS", PAIRS_DEFAULT);
    size_t shift = setting("SECRETFS_DAMAGE_SHIFT", 0) % every;
    size_t pair = 0;

    for (size_t i = 0; i < pages; i++) {
        for (size_t j = i + 1; j < pages; j++) {
            if (pair++ % every != shift || !is_mine(c))
                continue;
            exchange(&c->store, i, j);
            put_files(c, &c->store, NULL);
            judge(c, "exchanged pages", i, j);
            exchange(&c->store, i, j);
        }
    }
}

static void test_exchanged_pages(void **state)
{
    struct scene *c = make_scene(*state);

    share_out(c, "exchanged pages", exchange_pages);
    end_scene(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_flipped_bytes),
        store_test(test_cut_short),
        store_test(test_zeroed_pages),
        store_test(test_exchanged_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
