/*
 * The floor: a FUSE server that answers each request in as few lines as it can, and does nothing
 * else. It has COUNT files "0", "1" … of the same BYTES in its root, names and attributes valid for
 * a day, pages that are kept, and no flush, so that a warm open, read and close is one OPEN (and a
 * RELEASE that nobody waits for), as it is with secretfs. THREADS take requests off the device.
 * With "silent" it says once that it does not answer opens, as secretfs does with audit=none. With
 * another word, the name of a file, it makes those system calls for each open that a record of it
 * takes: is the caller still called the same, has the file grown, and a line into it.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VALID_SECONDS 86400.0
#define FIRST_INO 16
#define THREADS_MAX 16
#define CALLERS 64
#define LINE_BYTES 340 /* as those of the record for such a file */

static uint64_t count;
static size_t bytes;
static char *content;
static bool silent;
static int record_fd = -1;

static struct stat stat_of(fuse_ino_t ino)
{
    if (ino == FUSE_ROOT_ID)
        return (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2};
    return (struct stat){
        .st_ino = ino, .st_mode = S_IFREG | 0400, .st_nlink = 1, .st_size = (off_t)bytes};
}

static struct fuse_entry_param entry_of(fuse_ino_t ino)
{
    return (struct fuse_entry_param){.ino = ino,
                                     .attr = stat_of(ino),
                                     .attr_timeout = VALID_SECONDS,
                                     .entry_timeout = VALID_SECONDS};
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->want |= conn->capable & FUSE_CAP_READDIRPLUS;
    conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
                              FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    char *end;
    uint64_t number = strtoull(name, &end, 10);

    if (parent != FUSE_ROOT_ID || *end || number >= count) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    const struct fuse_entry_param entry = entry_of(FIRST_INO + number);
    fuse_reply_entry(req, &entry);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct stat st = stat_of(ino);
    (void)fi;
    fuse_reply_attr(req, &st, VALID_SECONDS);
}

/* The name of a thread in /proc, opened once for each thread of ours. */
static int name_of(pid_t thread)
{
    static _Thread_local struct {
        pid_t thread;
        int fd;
    } kept[CALLERS];
    char path[64];
    size_t i = (size_t)thread % CALLERS;

    if (kept[i].thread != thread) {
        if (kept[i].thread)
            close(kept[i].fd);
        snprintf(path, sizeof path, "/proc/%d/comm", (int)thread);
        kept[i].thread = thread;
        kept[i].fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return kept[i].fd;
}

static void note(pid_t thread)
{
    static const char line[LINE_BYTES] = {[LINE_BYTES - 1] = '\n'};
    char name[32];
    struct statx st;

    if (pread(name_of(thread), name, sizeof name, 0) < 0 ||
        statx(record_fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_NLINK, &st) != 0 ||
        write(record_fd, line, sizeof line) < 0 || lseek(record_fd, 0, SEEK_CUR) < 0)
        abort();
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->keep_cache = 1;
    fi->noflush = 1;
    if (record_fd >= 0)
        note(fuse_req_ctx(req)->pid);
    if (silent)
        fuse_reply_err(req, ENOSYS);
    else
        fuse_reply_open(req, fi);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    size_t at = (size_t)off < bytes ? (size_t)off : bytes;
    size_t left = bytes - at;
    (void)ino;
    (void)fi;
    fuse_reply_buf(req, content + at, left < size ? left : size);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

static void list(fuse_req_t req, size_t size, off_t off, bool plus)
{
    char *buf = malloc(size);
    size_t used = 0;
    char name[24];

    for (uint64_t i = (uint64_t)off; buf && i < count; i++) {
        const struct fuse_entry_param entry = entry_of(FIRST_INO + i);
        char *at = buf + used;
        size_t room = size - used;
        snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        size_t len = plus ? fuse_add_direntry_plus(req, at, room, name, &entry, (off_t)i + 1)
                          : fuse_add_direntry(req, at, room, name, &entry.attr, (off_t)i + 1);
        if (len > room)
            break;
        used += len;
    }
    fuse_reply_buf(req, buf, used);
    free(buf);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    list(req, size, off, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    list(req, size, off, true);
}

static const struct fuse_lowlevel_ops operations = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
    .release = on_release,
    .readdir = on_readdir,
    .readdirplus = on_readdirplus,
};

static void *run(void *arg)
{
    struct fuse_session *session = arg;
    struct fuse_buf buf = {.mem = NULL};
    int n;

    while (!fuse_session_exited(session) &&
           ((n = fuse_session_receive_buf(session, &buf)) > 0 || n == -EINTR))
        if (n > 0)
            fuse_session_process_buf(session, &buf);
    free(buf.mem);
    return NULL;
}

static int serve(struct fuse_session *session, unsigned threads)
{
    pthread_t others[THREADS_MAX];
    unsigned started = 0;

    while (started + 1 < threads && started < THREADS_MAX &&
           pthread_create(&others[started], NULL, run, session) == 0)
        started++;
    run(session); /* until it is unmounted, which ends them all */
    for (unsigned i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}

int main(int argc, char **argv)
{
    char *options[] = {argv[0], (char *)"-o", (char *)"fsname=bare,default_permissions,ro", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, options);

    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: bench_bare MOUNTPOINT COUNT BYTES THREADS [silent | RECORD]\n");
        return 2;
    }
    silent = argc == 6 && strcmp(argv[5], "silent") == 0;
    if (argc == 6 && !silent)
        record_fd = open(argv[5], O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (argc == 6 && !silent && record_fd < 0)
        return 1;
    count = strtoull(argv[2], NULL, 10);
    bytes = strtoull(argv[3], NULL, 10);
    content = malloc(bytes + 1);
    struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, NULL);
    if (content == NULL || session == NULL || fuse_session_mount(session, argv[1]) != 0)
        return 1;
    memset(content, 'x', bytes);
    return serve(session, (unsigned)strtoul(argv[4], NULL, 10));
}
