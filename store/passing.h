/*
 * Messages with which a file descriptor may go to another process: SCM_RIGHTS, see unix(7).
 */
#ifndef STORE_PASSING_H
#define STORE_PASSING_H

#include <stddef.h>
#include <sys/types.h>

/* As send(2), and gives the receiver a copy of `fd`; -1: of none. */
ssize_t passing_send(int socket, const void *bytes, size_t len, int flags, int fd);

/*
 * As recv(2). out: ret_fd  the descriptor that came with it, close-on-exec, which the caller owns;
 * -1: none, also on failure
 */
ssize_t passing_receive(int socket, void *ret_bytes, size_t room, int flags, int *ret_fd);

#endif
