/*
 * See control_server.h. The requests are two numbers, so that there is nothing to parse.
 */
#include "control_server.h"
#include "clock.h"
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 1000

/* A socket at which nobody listens belonged to a daemon that was killed. */
static void remove_dead(const char *prefix)
{
    DIR *folder = opendir(CONTROL_FOLDER);
    const struct dirent *entry;
    struct sockaddr_un address;

    while (folder && (entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, prefix, CONTROL_PREFIX_BYTES) != 0 ||
            !control_address(entry->d_name, &address))
            continue;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED)
            unlink(address.sun_path);
        close(fd);
    }
    if (folder)
        closedir(folder);
}

bool control_server_open(struct control_server *server,
                         const unsigned char uuid[static STORE_UUID_BYTES], uid_t owner)
{
    char prefix[CONTROL_PREFIX_BYTES + 1];
    struct sockaddr_un address;

    control_prefix(uuid, prefix);
    snprintf(server->name, sizeof server->name, "%s%d", prefix, (int)getpid());
    control_address(server->name, &address);
    bool folder = mkdir(CONTROL_FOLDER, 0755) == 0 || errno == EEXIST;
    if (folder)
        remove_dead(prefix);
    server->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    bool bound = folder && server->listening >= 0 &&
                 bind(server->listening, (struct sockaddr *)&address, sizeof address) == 0;
    umask(mask);
    if (bound && chown(address.sun_path, owner, (gid_t)-1) == 0 &&
        listen(server->listening, 16) == 0)
        return true;
    if (errno != EACCES)
        log_system_error("make the control socket", address.sun_path, errno);
    control_server_close(server);
    return false;
}

int control_server_fd(const struct control_server *server)
{
    return server->connection >= 0 ? server->connection : server->listening;
}

static void hang_up(struct control_server *server)
{
    if (server->connection >= 0)
        close(server->connection);
    server->connection = -1;
}

bool control_server_take(struct control_server *server, enum control_verb *ret_verb)
{
    struct control_request request;

    if (server->listening < 0)
        return false;
    if (server->connection < 0) {
        server->connection = accept4(server->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        server->connected_ms = clock_now_ms();
    }
    if (server->connection < 0)
        return false;
    ssize_t n = recv(server->connection, &request, sizeof request, 0);
    if (n == (ssize_t)sizeof request && request.version == CONTROL_VERSION) {
        *ret_verb = (enum control_verb)request.verb;
        return true;
    }
    bool waiting = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (!waiting || clock_now_ms() - server->connected_ms > PATIENCE_MS)
        hang_up(server);
    return false;
}

void control_server_reply(struct control_server *server, struct control_reply *reply)
{
    reply->version = CONTROL_VERSION;
    reply->pid = (uint32_t)getpid();
    send(server->connection, reply, sizeof *reply, MSG_NOSIGNAL);
    hang_up(server);
}

void control_server_close(struct control_server *server)
{
    struct sockaddr_un address;

    hang_up(server);
    if (server->listening < 0)
        return;
    close(server->listening);
    server->listening = -1;
    if (control_address(server->name, &address))
        unlink(address.sun_path);
}
