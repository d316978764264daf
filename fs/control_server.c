/*
 * See control_server.h. The requests are three numbers, so that there is nothing to parse.
 */
#include "control_server.h"
#include "clock.h"
#include "log.h"
#include "passing.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 1000          /* with those who ask nothing, */
#define CONFIRM_PATIENCE_MS 60000 /* and with those who wait */

/* ---- The socket's name --------------------------------------------------- */

#define LINK_BYTES (sizeof(struct sockaddr_un) + sizeof CONTROL_MOUNT_SUFFIX)

static void link_path(const char *socket_path, const char *suffix, char ret_path[static LINK_BYTES])
{
    snprintf(ret_path, LINK_BYTES, "%s%s", socket_path, suffix);
}

static bool make_link(const char *socket_path, const char *suffix, const char *target)
{
    char path[LINK_BYTES];

    link_path(socket_path, suffix, path);
    return symlink(target, path) == 0;
}

static void remove_names(const char *socket_path)
{
    static const char *const suffixes[] = {CONTROL_MOUNT_SUFFIX, CONTROL_STORE_SUFFIX, ""};
    char path[LINK_BYTES];

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        link_path(socket_path, suffixes[i], path);
        unlink(path);
    }
}

/* Whether the process that a socket is named after is gone, and we at most have its number. One
 * that is just starting has a socket at which nobody listens yet. */
static bool is_dead(const char *name)
{
    long pid = strtol(name + CONTROL_PREFIX_BYTES, NULL, 10);
    return pid == getpid() || (pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

/* A socket at which nobody listens belonged to a daemon that was killed, of whatever store. */
static void remove_dead(void)
{
    DIR *folder = opendir(CONTROL_FOLDER);
    const struct dirent *entry;
    struct sockaddr_un address;

    while (folder && (entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (strlen(name) <= CONTROL_PREFIX_BYTES || strchr(name + CONTROL_PREFIX_BYTES, '.') ||
            !control_address(name, &address))
            continue;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 &&
            errno == ECONNREFUSED && is_dead(name))
            remove_names(address.sun_path);
        close(fd);
    }
    if (folder)
        closedir(folder);
}

static bool watch(const struct control_server *server, int fd, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Not looking at the listening socket leaves those who connect in its queue. */
static void set_full(struct control_server *server, bool full)
{
    struct epoll_event event = {.events = full ? 0 : EPOLLIN, .data.u32 = CONTROL_CONNECTIONS};

    if (server->full != full &&
        epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listening_fd, &event) == 0)
        server->full = full;
}

static bool listen_at(struct control_server *server, const struct sockaddr_un *address, uid_t owner)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) == 0;

    umask(mask);
    server->listening_fd = fd;
    return bound && chown(address->sun_path, owner, (gid_t)-1) == 0 && listen(fd, 64) == 0 &&
           watch(server, fd, CONTROL_CONNECTIONS);
}

bool control_server_open(struct control_server *server, const char *store,
                         const unsigned char uuid[static STORE_UUID_BYTES], const char *mountpoint,
                         uid_t owner)
{
    char prefix[CONTROL_PREFIX_BYTES + 1];
    struct sockaddr_un address;

    *server = (struct control_server){.listening_fd = -1, .store = store, .message = SECBUF_INIT};
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        server->connections[i].fd = -1;
    control_prefix(uuid, prefix);
    snprintf(server->name, sizeof server->name, "%s%d", prefix, (int)getpid());
    control_address(server->name, &address);
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool folder = mkdir(CONTROL_FOLDER, 0755) == 0 || errno == EEXIST;
    if (folder)
        remove_dead();
    if (folder && server->epoll_fd >= 0 &&
        secbuf_alloc(&server->message, sizeof(struct control_rekey_request)) == STORE_OK &&
        make_link(address.sun_path, CONTROL_MOUNT_SUFFIX, mountpoint) &&
        make_link(address.sun_path, CONTROL_STORE_SUFFIX, store) &&
        listen_at(server, &address, owner))
        return true;
    if (errno != EACCES)
        log_system_error("make the control socket", address.sun_path, errno);
    control_server_close(server);
    return false;
}

/* ---- Connections --------------------------------------------------------- */

static void hang_up(struct control_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct control_connection){.fd = -1};
}

static struct control_connection *find_free(struct control_server *server)
{
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        if (server->connections[i].fd < 0)
            return &server->connections[i];
    return NULL;
}

static void accept_one(struct control_server *server)
{
    struct control_connection *c = find_free(server);

    if (c == NULL) {
        set_full(server, true);
        return;
    }
    int fd = accept4(server->listening_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && watch(server, fd, (uint32_t)(c - server->connections)))
        *c = (struct control_connection){.fd = fd, .since_ms = clock_now_ms()};
    else if (fd >= 0)
        close(fd);
}

/* True for a request that is not to confirm. A closed connection and nonsense end it. */
static bool take_from(struct control_server *server, struct control_connection *c,
                      enum control_verb *ret_verb)
{
    struct control_request request;
    ssize_t n = recv(c->fd, server->message.data, server->message.capacity, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    server->message.len = n > 0 ? (size_t)n : 0;
    if (c->rekeys)
        server->committed = n == 1 && server->message.data[0] == CONTROL_COMMITTED;
    memcpy(&request, server->message.data, sizeof request);
    size_t bytes = request.verb == CONTROL_REKEY ? sizeof(struct control_rekey_request)
                                                 : sizeof(struct control_request);
    bool valid = n == (ssize_t)bytes && request.version == CONTROL_VERSION;
    if (!valid || c->generation || c->rekeys) {
        secbuf_wipe(&server->message);
        hang_up(c);
        return false;
    }
    if (!control_is_about(&request, server->store)) {
        struct control_reply reply = {.error = ESTALE};
        secbuf_wipe(&server->message);
        control_server_reply(c, &reply);
        return false;
    }
    *ret_verb = (enum control_verb)request.verb;
    if (request.verb == CONTROL_REKEY)
        server->committed = false;
    if (request.verb != CONTROL_CONFIRM)
        return true;
    c->generation = request.generation ? request.generation : 1;
    return false;
}

static void close_idle(struct control_server *server)
{
    int64_t now = clock_now_ms();

    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
        struct control_connection *c = &server->connections[i];
        bool waits = c->generation || c->rekeys;
        if (c->fd >= 0 && now - c->since_ms > (waits ? CONFIRM_PATIENCE_MS : PATIENCE_MS))
            hang_up(c);
    }
}

struct control_connection *control_server_take(struct control_server *server,
                                               enum control_verb *ret_verb)
{
    struct epoll_event event;

    if (server->epoll_fd < 0)
        return NULL;
    while (epoll_wait(server->epoll_fd, &event, 1, 0) == 1) {
        if (event.data.u32 == CONTROL_CONNECTIONS)
            accept_one(server);
        else if (take_from(server, &server->connections[event.data.u32], ret_verb))
            return &server->connections[event.data.u32];
    }
    close_idle(server);
    if (find_free(server))
        set_full(server, false);
    return NULL;
}

/* What every reply has. */
static void fill_head(struct control_reply *reply)
{
    reply->version = CONTROL_VERSION;
    reply->pid = (uint32_t)getpid();
}

void control_server_reply(struct control_connection *connection, struct control_reply *reply)
{
    fill_head(reply);
    send(connection->fd, reply, sizeof *reply, MSG_NOSIGNAL);
    hang_up(connection);
}

void control_server_await_rekey(struct control_connection *connection, struct control_reply *reply)
{
    fill_head(reply);
    connection->rekeys = reply->error == 0;
    send(connection->fd, reply, sizeof *reply, MSG_NOSIGNAL);
    if (!connection->rekeys)
        hang_up(connection);
}

bool control_server_has_committed(const struct control_server *server)
{
    return server->committed;
}

bool control_server_rekeys(const struct control_server *server)
{
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        if (server->connections[i].rekeys)
            return true;
    return false;
}

void control_server_reply_file(struct control_connection *connection, struct control_reply *reply,
                               int fd)
{
    fill_head(reply);
    passing_send(connection->fd, reply, sizeof *reply, MSG_NOSIGNAL, fd);
    hang_up(connection);
    close(fd);
}

void control_server_confirm(struct control_server *server, struct control_reply *reply)
{
    for (size_t i = 0; server->epoll_fd >= 0 && i < CONTROL_CONNECTIONS; i++) {
        struct control_connection *c = &server->connections[i];
        if (c->fd >= 0 && c->generation && c->generation <= reply->generation)
            control_server_reply(c, reply);
    }
}

void control_server_close(struct control_server *server)
{
    struct sockaddr_un address;

    if (server->epoll_fd < 0)
        return;
    for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
        hang_up(&server->connections[i]);
    if (server->listening_fd >= 0)
        close(server->listening_fd);
    close(server->epoll_fd);
    server->epoll_fd = -1;
    secbuf_release(&server->message);
    if (control_address(server->name, &address))
        remove_names(address.sun_path);
}
