/*
 * See bench.h.
 */
#include "bench.h"
#include "anchor.h"
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void die(const char *what, const char *reason)
{
    fprintf(stderr, "%s: cannot %s: %s\n", program_invocation_short_name, what, reason);
    exit(1);
}

void must(enum store_err err, const char *what)
{
    if (err != STORE_OK)
        die(what, store_strerror(err));
}

uint64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno || end == text || *end)
        die("take as a number", text);
    return number;
}

/* ---- Times --------------------------------------------------------------- */

struct times *times_new(void)
{
    struct times *times = calloc(1, sizeof *times);
    if (times == NULL)
        die("keep the times", strerror(errno));
    return times;
}

/* Up to TIMES_STEPS a class each; then as many classes to each power of two. */
static size_t class_of(int64_t ns)
{
    uint64_t n = ns < 0 ? 0 : (uint64_t)ns;
    unsigned shift = 0;

    while (n >> shift >= 2 * TIMES_STEPS)
        shift++;
    size_t found = shift * TIMES_STEPS + (n >> shift);
    return found < TIMES_CLASSES ? found : TIMES_CLASSES - 1;
}

/* The middle of a class. */
static int64_t time_of(size_t class)
{
    if (class < 2 * TIMES_STEPS)
        return (int64_t) class;
    unsigned shift = (unsigned)(class / TIMES_STEPS) - 1;
    return (int64_t)((class - shift * TIMES_STEPS) << shift) + (INT64_C(1) << shift) / 2;
}

void times_add(struct times *times, int64_t ns)
{
    times->count++;
    times->sum += ns;
    times->max = ns > times->max ? ns : times->max;
    times->classes[class_of(ns)]++;
}

void times_merge(struct times *to, const struct times *from)
{
    to->count += from->count;
    to->sum += from->sum;
    to->max = from->max > to->max ? from->max : to->max;
    for (size_t i = 0; i < TIMES_CLASSES; i++)
        to->classes[i] += from->classes[i];
}

int64_t times_at(const struct times *times, double percent)
{
    uint64_t wanted = (uint64_t)((double)times->count * percent / 100);
    uint64_t seen = 0;

    for (size_t i = 0; i < TIMES_CLASSES; i++) {
        seen += times->classes[i];
        if (seen > wanted)
            return time_of(i);
    }
    return times->max;
}

void times_print(const char *name, const struct times *times)
{
    printf("%s count %llu p50 %lld p99 %lld mean %lld max %lld\n", name,
           (unsigned long long)times->count, (long long)times_at(times, 50),
           (long long)times_at(times, 99),
           (long long)(times->count ? times->sum / (int64_t)times->count : 0),
           (long long)times->max);
}

/* ---- The store ----------------------------------------------------------- */

static void use_record(struct store *store)
{
    static const struct audit_actor who = {.executable = "/usr/bin/secretctl"};
    struct audit_head known;
    static struct audit_log *log; /* lives as long as the program */
    int fd = -1;

    must(audit_file_open(store_path(store), NULL, AUDIT_MISSING_JOINS, &fd, &known),
         "open the record");
    must(audit_log_new(store, fd, &known, &log), "begin the record");
    audit_use(store, log, &who);
}

struct store *open_store(const char *path, const char *key_file, enum store_access access)
{
    SECBUF_AUTO struct secbuf key = SECBUF_INIT;
    const struct store_credential credential = {STORE_SLOT_KEYFILE, &key};
    struct anchor_file anchor;
    struct store *store;
    int fd = open(key_file, O_RDONLY | O_CLOEXEC);

    must(secmem_init(), "start");
    must(secbuf_alloc(&key, STORE_KEY_BYTES), "keep the key");
    key.len = STORE_KEY_BYTES;
    if (fd < 0 || read(fd, key.data, key.len) != (ssize_t)key.len)
        die("read the key", strerror(errno));
    close(fd);
    must(store_open(path, access, &store), "open the store");
    must(store_unlock(store, &credential), "unlock the store");
    must(anchor_open(path, store_uuid(store), NULL, &anchor), "open the anchor");
    anchor_use(store, &anchor, true);
    must(store_load(store), "load the store");
    if (access == STORE_READ_WRITE)
        use_record(store);
    return store;
}

void put_paths(struct store *store, char **paths, size_t count, size_t bytes)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    uint32_t number;

    must(secbuf_alloc(&value, bytes), "keep a value");
    value.len = bytes;
    must(store_begin(store), "begin");
    for (size_t i = 0; i < count; i++) {
        randombytes_buf(value.data, value.len);
        must(store_put(store, paths[i], &value, true, &number), "put");
    }
    must(store_commit(store), "commit");
}
