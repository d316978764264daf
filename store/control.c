/*
 * The asking side of the control sockets. See control.h.
 */
#include "control.h"
#include "clock.h"
#include "fault.h"
#include "passing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DAEMONS_MAX 64 /* of one store; others are not asked */
#define NAME_MAX_BYTES 64

const uint32_t control_latency_us[CONTROL_LATENCIES - 1] = {10,   25,   50,    100,    250,    500,
                                                            1000, 5000, 25000, 100000, 1000000};

void control_prefix(const unsigned char uuid[static STORE_UUID_BYTES],
                    char ret_prefix[static CONTROL_PREFIX_BYTES + 1])
{
    for (size_t i = 0; i < STORE_UUID_BYTES; i++)
        snprintf(ret_prefix + 2 * i, 3, "%02x", uuid[i]);
    memcpy(ret_prefix + CONTROL_PREFIX_BYTES - 1, ".", 2);
}

bool control_address(const char *name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    return snprintf(ret_address->sun_path, sizeof ret_address->sun_path, CONTROL_FOLDER "/%s",
                    name) < (int)sizeof ret_address->sun_path;
}

/* Those that are asked, with the names of their sockets. */
struct daemons {
    struct control_request request;
    struct secbuf
        *rekey; /* sent instead: a struct control_rekey_request; those who are ready wait */
    struct pollfd fds[DAEMONS_MAX]; /* fd -1: has replied */
    char names[DAEMONS_MAX][NAME_MAX_BYTES];
    int waiting[DAEMONS_MAX]; /* for the end of a rekey; -1: does not */
    size_t count;
    size_t left; /* that have not replied */
    control_visit_fn *visit;
    control_readers_fn *visit_readers; /* or this one */
    void *arg;
    size_t visited;
};

static bool is_gone(int error)
{
    return error == ECONNREFUSED || error == ENOENT || error == ECONNRESET || error == EPIPE;
}

#define LINK_BYTES (sizeof CONTROL_FOLDER + NAME_MAX_BYTES + sizeof CONTROL_MOUNT_SUFFIX)

/* Whether a daemon that can't be asked serves another copy of the store. One whose file we may not
 * even see does: ours is at another path. */
static bool serves_another(const struct daemons *d, const char *name)
{
    char path[LINK_BYTES];

    snprintf(path, sizeof path, CONTROL_FOLDER "/%s" CONTROL_STORE_SUFFIX, name);
    return !control_is_about(&d->request, path);
}

/*
 * Map the file that came with a reply, and visit it. Only what is memory, sealed against being cut,
 * is looked at: then nobody can have us killed by it. Returns an errno.
 */
static int visit_readers(struct daemons *d, const struct control_reply *reply, int fd)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_WRITE;
    const struct control_readers *head;
    struct stat st;

    if (fd < 0 || (fcntl(fd, F_GET_SEALS) & seals) != seals || fstat(fd, &st) != 0 ||
        st.st_size < (off_t)sizeof *head)
        return EPROTO;
    void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return errno;
    head = file;
    bool valid = head->reader_bytes == sizeof(struct control_reader) &&
                 head->count <= CONTROL_READERS_MAX &&
                 (size_t)st.st_size == sizeof *head + head->count * sizeof(struct control_reader);
    if (valid && d->visit_readers)
        d->visit_readers(d->arg, reply, head, (const struct control_reader *)(head + 1));
    munmap(file, (size_t)st.st_size);
    return valid ? 0 : EPROTO;
}

/* Visit with a reply, and the file that came with it, or -1. */
static void give(struct daemons *d, struct control_reply *reply, int fd)
{
    d->visited++;
    if (d->visit) {
        d->visit(d->arg, reply);
        return;
    }
    if (reply->error == 0)
        reply->error = visit_readers(d, reply, fd);
    if (reply->error && d->visit_readers)
        d->visit_readers(d->arg, reply, NULL, NULL);
}

/* What the name of its socket, and the links beside it, tell of a daemon that says nothing. */
static void visit_silent(struct daemons *d, const char *name, int error)
{
    struct control_reply reply = {.version = CONTROL_VERSION, .error = error};
    char path[LINK_BYTES];

    if (is_gone(error) || serves_another(d, name))
        return;
    reply.pid = (uint32_t)strtoul(name + CONTROL_PREFIX_BYTES, NULL, 10);
    snprintf(path, sizeof path, CONTROL_FOLDER "/%s" CONTROL_MOUNT_SUFFIX, name);
    if (readlink(path, reply.mountpoint, sizeof reply.mountpoint - 1) < 0)
        reply.mountpoint[0] = '\0';
    give(d, &reply, -1);
}

/* Connect and send the request; a full backlog and a stopped daemon show as no reply. */
static int ask(const struct daemons *d, const char *name, int *ret_fd)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? errno : control_address(name, &address) ? 0 : ENAMETOOLONG;
    const void *message = d->rekey ? (const void *)d->rekey->data : &d->request;
    size_t bytes = d->rekey ? d->rekey->len : sizeof d->request;

    if (!error && (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
                   send(fd, message, bytes, MSG_NOSIGNAL) < 0))
        error = errno;
    if (error && fd >= 0)
        close(fd);
    *ret_fd = error ? -1 : fd;
    return error;
}

/* Those whose sockets' names begin with `prefix`. */
static void ask_all(struct daemons *d, DIR *folder, const char *prefix)
{
    const struct dirent *entry;

    while ((entry = readdir(folder)) != NULL && d->count < DAEMONS_MAX) {
        const char *name = entry->d_name;
        if (strncmp(name, prefix, strlen(prefix)) != 0 || strlen(name) <= CONTROL_PREFIX_BYTES ||
            strlen(name) >= NAME_MAX_BYTES || strchr(name + CONTROL_PREFIX_BYTES, '.'))
            continue;
        struct pollfd *fd = &d->fds[d->count];
        int error = ask(d, name, &fd->fd);
        if (error) {
            visit_silent(d, name, error);
            continue;
        }
        fd->events = POLLIN;
        d->waiting[d->count] = -1;
        snprintf(d->names[d->count++], NAME_MAX_BYTES, "%s", name);
        d->left++;
    }
}

/* A daemon that hangs up has ended, or had no patience with a process that was stopped: then it is
 * asked again. */
static void take_reply(struct daemons *d, size_t i)
{
    struct control_reply reply = {.version = 0};
    int file;
    ssize_t n = passing_receive(d->fds[i].fd, &reply, sizeof reply, 0, &file);
    int error = n < 0 ? errno : 0;
    bool valid = n == (ssize_t)sizeof reply && reply.version == CONTROL_VERSION &&
                 memchr(reply.mountpoint, 0, sizeof reply.mountpoint) != NULL &&
                 memchr(reply.degraded_why, 0, sizeof reply.degraded_why) != NULL &&
                 memchr(reply.record, 0, sizeof reply.record) != NULL;

    if (error == EAGAIN || error == EINTR)
        return;
    if (d->rekey && valid && reply.error == 0)
        d->waiting[i] = d->fds[i].fd;
    else
        close(d->fds[i].fd);
    d->fds[i].fd = -1;
    if (n == 0 || is_gone(error)) {
        error = ask(d, d->names[i], &d->fds[i].fd);
        if (!error)
            return;
    } else if (n > 0 && !valid) {
        error = EPROTO;
    }
    d->left--;
    if (error) {
        visit_silent(d, d->names[i], error);
    } else if (reply.error != ESTALE) { /* by which it says that it serves another copy */
        give(d, &reply, file);
    }
    if (file >= 0)
        close(file);
}

static void take_replies(struct daemons *d, int timeout_ms)
{
    int64_t deadline = clock_now_ms() + timeout_ms;
    int64_t left;

    while (d->left > 0 && (left = deadline - clock_now_ms()) > 0) {
        if (poll(d->fds, d->count, (int)left) < 0 && errno != EINTR)
            break;
        for (size_t i = 0; i < d->count; i++)
            if (d->fds[i].fd >= 0 && d->fds[i].revents)
                take_reply(d, i);
    }
    for (size_t i = 0; i < d->count; i++) {
        if (d->fds[i].fd >= 0) {
            visit_silent(d, d->names[i], ETIMEDOUT);
            close(d->fds[i].fd);
        }
    }
}

bool control_is_about(const struct control_request *request, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == request->device && st.st_ino == request->inode;
}

/* Ask with what `daemons` (owned by the caller) has of the request, and of visits. */
static enum store_err ask_daemons(const char *path, const char *prefix, struct daemons *d,
                                  int timeout_ms, size_t *ret_count)
{
    struct stat st;
    DIR *folder = opendir(CONTROL_FOLDER);

    *ret_count = 0;
    if (folder == NULL)
        return errno == ENOENT ? STORE_OK : fault_errno(errno, "read", CONTROL_FOLDER);
    if (stat(path, &st) == 0) {
        d->request.version = CONTROL_VERSION;
        d->request.device = st.st_dev;
        d->request.inode = st.st_ino;
        if (d->rekey)
            memcpy(d->rekey->data, &d->request, sizeof d->request);
        ask_all(d, folder, prefix);
        take_replies(d, timeout_ms);
        *ret_count = d->visited;
    }
    closedir(folder);
    return STORE_OK;
}

static enum store_err ask_about(const struct store *store, struct daemons *d, int timeout_ms,
                                size_t *ret_count)
{
    char prefix[CONTROL_PREFIX_BYTES + 1];

    control_prefix(store_uuid(store), prefix);
    return ask_daemons(store_path(store), prefix, d, timeout_ms, ret_count);
}

enum store_err control_ask(const struct store *store, enum control_verb verb, uint64_t generation,
                           int timeout_ms, control_visit_fn *visit, void *arg, size_t *ret_count)
{
    struct daemons d = {
        .request = {.verb = verb, .generation = generation}, .visit = visit, .arg = arg};
    return ask_about(store, &d, timeout_ms, ret_count);
}

enum store_err control_ask_at(const char *path, enum control_verb verb, int timeout_ms,
                              control_visit_fn *visit, void *arg, size_t *ret_count)
{
    struct daemons d = {.request = {.verb = verb}, .visit = visit, .arg = arg};
    return ask_daemons(path, "", &d, timeout_ms, ret_count);
}

enum store_err control_ask_readers(const struct store *store, int timeout_ms,
                                   control_readers_fn *visit, void *arg, size_t *ret_count)
{
    struct daemons d = {.request = {.verb = CONTROL_READERS}, .visit_readers = visit, .arg = arg};
    return ask_about(store, &d, timeout_ms, ret_count);
}

/* ---- Rekey --------------------------------------------------------------- */

struct control_rekey {
    struct daemons daemons;
};

static enum store_err ask_to_rekey(const struct store *store, const struct secbuf *root_key,
                                   const struct secbuf *new_key, struct daemons *d, int timeout_ms)
{
    SECBUF_AUTO struct secbuf message = SECBUF_INIT;
    size_t count;

    enum store_err err = secbuf_alloc(&message, sizeof(struct control_rekey_request));
    if (err)
        return err;
    message.len = sizeof(struct control_rekey_request);
    memcpy(message.data + offsetof(struct control_rekey_request, root_key), root_key->data,
           STORE_KEY_BYTES);
    memcpy(message.data + offsetof(struct control_rekey_request, new_key), new_key->data,
           STORE_KEY_BYTES);
    d->rekey = &message;
    err = ask_about(store, d, timeout_ms, &count);
    d->rekey = NULL;
    return err;
}

enum store_err control_rekey_begin(const struct store *store, const struct secbuf *root_key,
                                   const struct secbuf *new_key, int timeout_ms,
                                   control_visit_fn *visit, void *arg,
                                   struct control_rekey **ret_rekey)
{
    struct control_rekey *rekey = calloc(1, sizeof *rekey);

    if (rekey == NULL)
        return fault(STORE_ERR_NO_MEMORY, "ask", "the daemons", NULL);
    rekey->daemons =
        (struct daemons){.request = {.verb = CONTROL_REKEY}, .visit = visit, .arg = arg};
    enum store_err err = ask_to_rekey(store, root_key, new_key, &rekey->daemons, timeout_ms);
    if (err)
        control_rekey_end(rekey, false);
    else
        *ret_rekey = rekey;
    return err;
}

void control_rekey_end(struct control_rekey *rekey, bool committed)
{
    const char word = CONTROL_COMMITTED;

    for (size_t i = 0; rekey && i < rekey->daemons.count; i++) {
        int fd = rekey->daemons.waiting[i];
        if (fd >= 0 && committed)
            send(fd, &word, 1, MSG_NOSIGNAL);
        if (fd >= 0)
            close(fd);
    }
    free(rekey);
}
