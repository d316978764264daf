/*
 * How long it takes from a durable commit until the mounts have confirmed that they show it: what
 * 'secretctl rotate' waits for, without the start of a process. Does what tools/change.c does.
 * tests/bench/confirm.py makes the store and mounts it.
 *
 * Beside it the machine's own share: after each commit two processes wake each other as often as
 * a confirmation wakes one, and do nothing else.
 */
#include "bench.h"
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONFIRM_MS 5000
#define VALUE_BYTES 64
#define WAKE_UPS 8 /* follower, notifier, a request, its answer, its report, supervisor, asker */

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

static void measure(struct store *store, int echo, size_t count, char **paths, size_t path_count)
{
    struct times *commits = times_new();
    struct times *confirmations = times_new();
    struct times *wake_ups = times_new();

    for (size_t i = 0; i < count; i++) {
        int64_t begun = now_ns();
        put_paths(store, &paths[i % path_count], 1, VALUE_BYTES);
        int64_t committed = now_ns();
        confirm(store);
        int64_t confirmed = now_ns();
        wake_each_other(echo);
        times_add(commits, committed - begun);
        times_add(confirmations, confirmed - committed);
        times_add(wake_ups, now_ns() - confirmed);
    }
    times_print("commit", commits);
    times_print("confirmed", confirmations);
    times_print("wake-ups", wake_ups);
    free(commits);
    free(confirmations);
    free(wake_ups);
}

/* COUNT commits of a new version each, of one PATH after the other. */
int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: bench_confirm STORE KEY-FILE COUNT PATH...\n");
        return 2;
    }
    int echo = start_echo(); /* before there are keys */
    struct store *store = open_store(argv[1], argv[2], STORE_READ_WRITE);

    measure(store, echo, number_of(argv[3]), argv + 4, (size_t)argc - 4);
    close(echo);
    store_close(store);
    return 0;
}
