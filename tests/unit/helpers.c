/*
 * See helpers.h.
 */
#include "helpers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void check_error(enum store_err code, enum store_err expected, const char *what, const char *file,
                 int line)
{
    const struct store_fault *last = store_fault();
    if (code == expected)
        return;
    print_error("%s: '%s' (%d), expected '%s' (%d)\n", what, store_strerror(code), code,
                store_strerror(expected), expected);
    if (code != STORE_OK)
        print_error("fault: %s %s: %s (errno %d, sqlite %d)\n", last->operation, last->object,
                    last->reason, last->sys_errno, last->sqlite_code);
    _fail(file, line);
}

/* ---- Fixtures -------------------------------------------------------------------------------- */

static size_t live_before; /* a test that failed may have left some */

int buffers_setup(void **state)
{
    (void)state;
    live_before = secbuf_live();
    return secmem_init() == STORE_OK ? 0 : -1;
}

int buffers_teardown(void **state)
{
    (void)state;
    if (secbuf_live() == live_before)
        return 0;
    print_error("%zu secret buffers are still alive\n", secbuf_live() - live_before);
    return -1;
}

static int remove_folder(const char *folder)
{
    char path[512];
    DIR *dir = opendir(folder);
    struct dirent *entry;

    if (dir == NULL)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0 && rmdir(path) != 0)
            print_error("cannot remove %s: %s\n", path, strerror(errno));
    }
    closedir(dir);
    return rmdir(folder);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL || buffers_setup(NULL) != 0)
        return -1;
    strcpy(f->folder, "/tmp/secretfs-unit.XXXXXX");
    if (mkdtemp(f->folder) == NULL)
        return -1;
    snprintf(f->path, sizeof f->path, "%s/store.db", f->folder);
    f->key = secret_filled(STORE_KEY_BYTES, 1);
    f->credential = (struct store_credential){STORE_SLOT_KEYFILE, &f->key};
    *state = f;
    return store_create(f->path, &f->credential) == STORE_OK ? 0 : -1;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    secbuf_release(&f->key);
    int bad = remove_folder(f->folder);
    free(f);
    return buffers_teardown(NULL) || bad ? -1 : 0;
}

struct store *open_unlocked(const struct fixture *f, enum store_access access)
{
    struct store *s = NULL;
    assert_ok(store_open(f->path, access, &s));
    assert_ok(store_unlock(s, &f->credential));
    return s;
}

struct store *open_store(const struct fixture *f, enum store_access access)
{
    struct store *s = open_unlocked(f, access);
    assert_ok(store_load(s));
    return s;
}

enum store_err try_load(const struct fixture *f)
{
    struct store *s = NULL;
    enum store_err err = store_open(f->path, STORE_READ_ONLY, &s);
    if (!err)
        err = store_unlock(s, &f->credential);
    if (!err)
        err = store_load(s);
    store_close(s);
    return err;
}

/* ---- Values and changes ---------------------------------------------------------------------- */

struct secbuf secret_of(const void *bytes, size_t len)
{
    struct secbuf buf = SECBUF_INIT;
    assert_ok(secbuf_alloc(&buf, len));
    if (len > 0)
        memcpy(buf.data, bytes, len);
    buf.len = len;
    return buf;
}

struct secbuf secret_filled(size_t len, unsigned seed)
{
    struct secbuf buf = SECBUF_INIT;
    uint64_t random = seed;

    assert_ok(secbuf_alloc(&buf, len));
    for (size_t i = 0; i < len; i++)
        buf.data[i] = (unsigned char)next_random(&random);
    buf.len = len;
    return buf;
}

uint32_t put_text(struct store *s, const char *path, const char *text)
{
    SECBUF_AUTO struct secbuf value = secret_of(text, strlen(text));
    uint32_t number = 0;
    assert_ok(store_begin(s));
    assert_ok(store_put(s, path, &value, false, &number));
    assert_ok(store_commit(s));
    return number;
}

void make_directory(struct store *s, const char *path)
{
    assert_ok(store_begin(s));
    assert_ok(store_mkdir(s, path));
    assert_ok(store_commit(s));
}

void remove_path(struct store *s, const char *path)
{
    assert_ok(store_begin(s));
    assert_ok(store_remove(s, path, STORE_RECOVERY_S));
    assert_ok(store_commit(s));
}

void set_mode(struct store *s, const char *path, uint16_t mode)
{
    struct policy policy = policy_make(0, 0, mode);
    assert_ok(store_begin(s));
    assert_ok(store_set_policy(s, path, &policy));
    assert_ok(store_commit(s));
}

struct store_attr resolve(struct store *s, const char *path)
{
    struct store_attr attr = {0};
    assert_ok(store_resolve(s, path, &attr));
    return attr;
}

void assert_value(struct store *s, const char *path, const void *bytes, size_t len)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    struct store_attr attr = resolve(s, path);
    assert_ok(store_read(s, attr.version, &value));
    assert_int_equal(value.len, len);
    assert_int_equal(attr.size_bytes, len);
    if (len > 0)
        assert_memory_equal(value.data, bytes, len);
}

void assert_text(struct store *s, const char *path, const char *text)
{
    assert_value(s, path, text, strlen(text));
}

/* ---- Behind the library's back ----------------------------------------------------------------
 */

void raw_sql(const struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

void raw_sql_format(const struct fixture *f, const char *format, ...)
{
    char sql[1024];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    assert_in_range(len, 0, sizeof sql - 1);
    raw_sql(f, sql);
}

static bool copy_file(const char *from, const char *to)
{
    char bytes[16384];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n = -1;

    while (in >= 0 && out >= 0 && (n = read(in, bytes, sizeof bytes)) > 0)
        if (write(out, bytes, (size_t)n) != n)
            return false;
    return n == 0;
}

/* In a process of its own: closing a descriptor of the file here would drop SQLite's locks. */
void copy_behind(const char *from, const char *to)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(copy_file(from, to) ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- Vectors and random numbers ----------------------------------------------------------------
 */

#define LINE_MAX_BYTES 8192
#define VECTOR_MAX 2048

const unsigned char *vector(const char *name, size_t *ret_len)
{
    static unsigned char bytes[8][VECTOR_MAX];
    static unsigned turn;
    static char line[LINE_MAX_BYTES];
    size_t name_len = strlen(name);
    FILE *file = fopen(VECTORS_FILE, "re");

    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, name_len) != 0 || line[name_len] != ' ')
            continue;
        unsigned char *at = bytes[++turn % 8];
        size_t len = 0;
        unsigned byte;
        while (len < VECTOR_MAX && sscanf(line + name_len + 1 + 2 * len, "%2x", &byte) == 1)
            at[len++] = (unsigned char)byte;
        fclose(file);
        *ret_len = len;
        return at;
    }
    fclose(file);
    fail_msg("no vector called %s", name);
    return NULL;
}

uint32_t next_random(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z ^ z >> 31);
}
