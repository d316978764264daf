/*
 * The asking side of the control sockets. See control.h.
 */
#include "control.h"
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

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

/* Returns 0, or an errno. */
static int exchange(int fd, const struct sockaddr_un *address, enum control_verb verb,
                    int timeout_ms, struct control_reply *ret_reply)
{
    const struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    const struct control_request request = {CONTROL_VERSION, verb};

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0 ||
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
        send(fd, &request, sizeof request, MSG_NOSIGNAL) < 0)
        return errno == EAGAIN ? ETIMEDOUT : errno;
    ssize_t n = recv(fd, ret_reply, sizeof *ret_reply, 0);
    if (n < 0)
        return errno == EAGAIN ? ETIMEDOUT : errno;
    if (n == 0)
        return ECONNRESET;
    bool valid = n == (ssize_t)sizeof *ret_reply && ret_reply->version == CONTROL_VERSION &&
                 memchr(ret_reply->mountpoint, 0, sizeof ret_reply->mountpoint) != NULL;
    return valid ? 0 : EPROTO;
}

/* Whether the daemon is there; what its socket says, or why it says nothing. */
static bool ask_one(const char *name, enum control_verb verb, int timeout_ms,
                    struct control_reply *ret_reply)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : ENAMETOOLONG;

    if (fd >= 0 && control_address(name, &address))
        error = exchange(fd, &address, verb, timeout_ms, ret_reply);
    if (fd >= 0)
        close(fd);
    if (error)
        *ret_reply = (struct control_reply){.version = CONTROL_VERSION, .error = error};
    return error != ECONNREFUSED && error != ENOENT && error != ECONNRESET;
}

enum store_err control_ask(const unsigned char uuid[static STORE_UUID_BYTES],
                           enum control_verb verb, int timeout_ms, control_visit_fn *visit,
                           void *arg, size_t *ret_count)
{
    char prefix[CONTROL_PREFIX_BYTES + 1];
    struct control_reply reply;
    const struct dirent *entry;
    DIR *folder = opendir(CONTROL_FOLDER);

    *ret_count = 0;
    if (folder == NULL)
        return errno == ENOENT ? STORE_OK : fault_errno(errno, "read", CONTROL_FOLDER);
    control_prefix(uuid, prefix);
    while ((entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, prefix, CONTROL_PREFIX_BYTES) == 0 &&
            ask_one(entry->d_name, verb, timeout_ms, &reply)) {
            visit(arg, &reply);
            ++*ret_count;
        }
    }
    closedir(folder);
    return STORE_OK;
}
