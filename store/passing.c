/*
 * See passing.h.
 */
#include "passing.h"

#include <string.h>
#include <sys/socket.h>

/* Room for one descriptor, aligned as it has to be. */
union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
};

ssize_t passing_send(int socket, const void *bytes, size_t len, int flags, int fd)
{
    union control control = {.room = {0}};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    return sendmsg(socket, &message, flags);
}

ssize_t passing_receive(int socket, void *ret_bytes, size_t room, int flags, int *ret_fd)
{
    union control control;
    struct iovec part = {.iov_base = ret_bytes, .iov_len = room};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t n = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *head = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *ret_fd = -1;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof *ret_fd))
        memcpy(ret_fd, CMSG_DATA(head), sizeof *ret_fd);
    return n;
}
