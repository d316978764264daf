/*
 * How long it takes from a durable commit until the mounts have confirmed that they show it: what
 * 'secretctl rotate' waits for, without the start of a process. Does what tools/change.c does.
 * tests/bench/confirm.py makes the store and mounts it.
 *
 * Beside it the machine's own share: after each commit two processes wake each other as often as
 * a confirmation wakes one, and do nothing else.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONFIRM_MS 5000
#define VALUE_BYTES 64
#define WAKE_UPS 8 /* follower, notifier, a request, its answer, its report, supervisor, asker */

static _Noreturn void die(const char *what, const char *reason)
{
    fprintf(stderr, "bench_confirm: cannot %s: %s\n", what, reason);
    exit(1);
}

static void must(enum store_err err, const char *what)
{
    if (err != STORE_OK)
        die(what, store_strerror(err));
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- The store ----------------------------------------------------------- */

static struct store *open_store(const char *path, const char *key_file)
{
    SECBUF_AUTO struct secbuf key = SECBUF_INIT;
    const struct store_credential credential = {STORE_SLOT_KEYFILE, &key};
    struct store *store;
    int fd = open(key_file, O_RDONLY | O_CLOEXEC);

    must(secbuf_alloc(&key, STORE_KEY_BYTES), "keep the key");
    key.len = STORE_KEY_BYTES;
    if (fd < 0 || read(fd, key.data, key.len) != (ssize_t)key.len)
        die("read the key", strerror(errno));
    close(fd);
    must(store_open(path, STORE_READ_WRITE, &store), "open the store");
    must(store_unlock(store, &credential), "unlock the store");
    must(store_load(store), "load the store");
    return store;
}

static void put(struct store *store, char **paths, int count)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    uint32_t number;

    must(secbuf_alloc(&value, VALUE_BYTES), "keep a value");
    value.len = VALUE_BYTES;
    must(store_begin(store), "begin");
    for (int i = 0; i < count; i++) {
        randombytes_buf(value.data, value.len);
        must(store_put(store, paths[i], &value, true, &number), "put");
    }
    must(store_commit(store), "commit");
}

static void take_confirmation(void *arg, const struct control_reply *reply)
{
    bool *failed = arg;
    *failed |= reply->error != 0;
}

static void confirm(struct store *store)
{
    bool failed = false;
    size_t count;

    must(control_ask(store, CONTROL_CONFIRM, store_generation(store), CONFIRM_MS, take_confirmation,
                     &failed, &count),
         "ask the daemons");
    if (failed || count == 0)
        die("have the change confirmed", failed ? "a mount did not" : "nothing is mounted");
}

/* ---- The machine --------------------------------------------------------- */

/* A process that answers each byte with one. Returns our end of the socket. */
static int start_echo(void)
{
    int ends[2];
    char byte;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        die("make a socket", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die("fork", strerror(errno));
    if (pid > 0) {
        close(ends[1]);
        return ends[0];
    }
    close(ends[0]);
    while (read(ends[1], &byte, 1) == 1 && write(ends[1], &byte, 1) == 1)
        ;
    _exit(0);
}

static void wake_each_other(int echo)
{
    char byte = 0;

    for (int i = 0; i < WAKE_UPS / 2; i++)
        if (write(echo, &byte, 1) != 1 || read(echo, &byte, 1) != 1)
            die("wake the other process", strerror(errno));
}

/* ---- The numbers --------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double ms_at(const int64_t *sorted, size_t count, unsigned percent)
{
    size_t at = (count - 1) * percent / 100;
    return (double)sorted[at] / 1e6;
}

static void print(const char *what, int64_t *times, size_t count)
{
    qsort(times, count, sizeof *times, compare);
    printf("%s p50 %.3f p99 %.3f max %.3f ms\n", what, ms_at(times, count, 50),
           ms_at(times, count, 99), ms_at(times, count, 100));
}

static int64_t *allocate(size_t count)
{
    int64_t *times = calloc(count, sizeof *times);
    if (times == NULL)
        die("allocate the times", strerror(errno));
    return times;
}

static void measure(struct store *store, int echo, size_t count, char **paths, int path_count)
{
    int64_t *commits = allocate(count);
    int64_t *confirmations = allocate(count);
    int64_t *wake_ups = allocate(count);

    for (size_t i = 0; i < count; i++) {
        int64_t begun = now_ns();
        put(store, &paths[i % (size_t)path_count], 1);
        int64_t committed = now_ns();
        confirm(store);
        int64_t confirmed = now_ns();
        wake_each_other(echo);
        commits[i] = committed - begun;
        confirmations[i] = confirmed - committed;
        wake_ups[i] = now_ns() - confirmed;
    }
    print("commit", commits, count);
    print("confirmed", confirmations, count);
    print("wake-ups", wake_ups, count);
    free(commits);
    free(confirmations);
    free(wake_ups);
}

/* COUNT commits of a new version each, of one PATH after the other; 0: one commit of them all. */
int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: bench_confirm STORE KEY-FILE COUNT PATH...\n");
        return 2;
    }
    must(secmem_init(), "start");
    size_t count = strtoul(argv[3], NULL, 10);
    int echo = start_echo(); /* before there are keys */
    struct store *store = open_store(argv[1], argv[2]);

    if (count > 0)
        measure(store, echo, count, argv + 4, argc - 4);
    else
        put(store, argv + 4, argc - 4);
    close(echo);
    store_close(store);
    return 0;
}
