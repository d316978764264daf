/*
 * One step of a process, COUNT times, to have its instructions counted by callgrind: what does
 * COUNT times the step is run with two counts, and the difference is that of the step alone.
 *
 *   load                 what STORE has is verified
 *   put                  a new version of a secret, on record, committed, anchored
 *   warm                 OPEN and RELEASE of a file that is read again
 *   cold                 LOOKUP, OPEN, READ and RELEASE of one after the other
 *
 * The last two are the worker's without its cage: fs/session.c and all below it, which take the
 * kernel's requests from a socket, as include/uapi/linux/fuse.h has them, and answer there. The
 * store is as bench_fill leaves it with all secrets in one folder.
 */
#include "bench.h"
#include "callers.h"
#include "reads.h"
#include "resolver.h"
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VALUE_BYTES 64
#define NAME_BYTES 32
#define ROOM_BYTES 4096

struct worker {
    struct store *store;
    struct resolver *resolver;
    struct callers *callers;
    struct reads *reads;
    struct serve *serve;
    int kernel; /* our end of the device */
    uint64_t unique;
};

static struct kept kept; /* too large for a stack */

/* ---- Requests ------------------------------------------------------------ */

/* Returns where the answer's own part is, behind its header; valid until the next. */
static const void *request(struct worker *w, uint32_t opcode, uint64_t node, const void *arg,
                           size_t len)
{
    static _Alignas(8) char out[ROOM_BYTES];
    _Alignas(8) char in[256];
    const struct fuse_in_header head = {.len = (uint32_t)(sizeof head + len),
                                        .opcode = opcode,
                                        .unique = w->unique += 2,
                                        .nodeid = node,
                                        .pid = (uint32_t)getpid()};
    const struct fuse_out_header *answer = (const void *)out;

    memcpy(in, &head, sizeof head);
    memcpy(in + sizeof head, arg, len);
    if (send(w->kernel, in, sizeof head + len, 0) < 0 ||
        recv(w->kernel, out, sizeof out, 0) < (ssize_t)sizeof *answer)
        die("ask the worker", strerror(errno));
    if (answer->error)
        die("have a request answered", strerror(-answer->error));
    return answer + 1;
}

static void open_and_release(struct worker *w, uint64_t node, bool reads)
{
    const struct fuse_open_in open_in = {.flags = O_RDONLY};
    const struct fuse_open_out *opened = request(w, FUSE_OPEN, node, &open_in, sizeof open_in);
    const struct fuse_read_in read_in = {.fh = opened->fh, .size = ROOM_BYTES / 2};
    const struct fuse_release_in release_in = {.fh = opened->fh, .flags = O_RDONLY};

    if (reads)
        request(w, FUSE_READ, node, &read_in, sizeof read_in);
    request(w, FUSE_RELEASE, node, &release_in, sizeof release_in);
}

static uint64_t look_up(struct worker *w, size_t number)
{
    char name[NAME_BYTES];
    int len = snprintf(name, sizeof name, "%zu", number);
    const struct fuse_entry_out *entry =
        request(w, FUSE_LOOKUP, STORE_ROOT_ID, name, (size_t)len + 1);
    return entry->nodeid;
}

/* ---- The worker ---------------------------------------------------------- */

static void pair(int ret_ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) != 0)
        die("make a socket", strerror(errno));
}

static void start_record(struct worker *w)
{
    const struct reads_options options = {.sync = false};
    struct audit_head known;
    int fd = -1;

    must(audit_file_open(store_path(w->store), NULL, AUDIT_MISSING_BEGINS, &fd, &known),
         "open the record");
    w->reads = reads_start(w->store, fd, &kept.reads, w->callers, &options);
    if (w->reads == NULL)
        die("begin the record", strerror(errno));
}

/* The first request is answered while the worker starts, so it is there before. */
static void begin_session(struct worker *w, int device)
{
    const struct {
        struct fuse_in_header head;
        struct fuse_init_in in;
    } init = {.head = {.len = sizeof init, .opcode = FUSE_INIT, .unique = w->unique += 2},
              .in = {.major = FUSE_KERNEL_VERSION, .minor = 38, .max_readahead = 131072}};
    const struct serve_options options = {
        .workers = 1, .notifier = -1, .reads = w->reads, .callers = w->callers};
    char answer[ROOM_BYTES];

    kept.shown = store_next_id(w->store);
    kept.applied = store_generation(w->store);
    store_hold_names(w->store, kept.shown);
    if (send(w->kernel, &init, sizeof init, 0) < 0 ||
        serve_start(w->store, device, &kept, &options, &w->serve) != SERVE_STARTED ||
        recv(w->kernel, answer, sizeof answer, 0) < 0)
        die("start a session", strerror(errno));
}

static struct worker start_worker(const char *path, const char *key_file)
{
    struct worker w = {.unique = 2};
    int device[2];
    int questions[2];

    if (dup2(open("/dev/null", O_RDWR | O_CLOEXEC), HANDOFF_SOCKET) < 0) /* nobody hears it */
        die("open /dev/null", strerror(errno));
    pair(device);
    pair(questions);
    w.kernel = device[0];
    w.store = open_store(path, key_file, STORE_FOLLOW);
    w.resolver = resolver_start(questions[0], "/nowhere");
    w.callers = callers_new(questions[1], CALLERS_MAX);
    if (w.resolver == NULL || w.callers == NULL)
        die("start a worker", strerror(errno));
    start_record(&w);
    begin_session(&w, device[1]);
    close(device[1]);
    return w;
}

static void stop_worker(struct worker *w)
{
    serve_stop(w->serve);
    reads_stop(w->reads);
    callers_free(w->callers);
    resolver_stop(w->resolver);
    store_close(w->store);
}

/* ---- The steps ----------------------------------------------------------- */

static void read_files(const char *path, const char *key_file, size_t count, bool cold)
{
    struct worker w = start_worker(path, key_file);
    uint64_t node = look_up(&w, 0);

    open_and_release(&w, node, true);
    for (size_t i = 1; i <= count; i++)
        open_and_release(&w, cold ? look_up(&w, i) : node, cold);
    stop_worker(&w);
}

static void put_versions(const char *path, const char *key_file, size_t count)
{
    struct store *store = open_store(path, key_file, STORE_READ_WRITE);
    char name[NAME_BYTES];
    char *paths[] = {name};

    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%zu", i);
        put_paths(store, paths, 1, VALUE_BYTES);
    }
    store_close(store);
}

int main(int argc, char **argv)
{
    const char *step = argc == 5 ? argv[1] : "";

    if (strcmp(step, "load") == 0)
        store_close(open_store(argv[2], argv[3], STORE_FOLLOW));
    else if (strcmp(step, "put") == 0)
        put_versions(argv[2], argv[3], number_of(argv[4]));
    else if (strcmp(step, "warm") == 0 || strcmp(step, "cold") == 0)
        read_files(argv[2], argv[3], number_of(argv[4]), strcmp(step, "cold") == 0);
    else {
        fprintf(stderr, "usage: bench_steps load|put|warm|cold STORE KEY-FILE COUNT\n");
        return 2;
    }
    return 0;
}
