/*
 * The daemon's control socket (store/control.h): takes one connection after the other, none of
 * which can hold the daemon up.
 */
#ifndef FS_CONTROL_SERVER_H
#define FS_CONTROL_SERVER_H

#include "control.h"

#include <sys/types.h>

struct control_server {
    int listening;
    int connection; /* -1 while there is none */
    int64_t connected_ms;
    char name[CONTROL_PREFIX_BYTES + 16];
};

#define CONTROL_SERVER_INIT \
    {                       \
        -1, -1, 0, ""       \
    }

/*
 * Make the socket of a daemon that serves the store `uuid`, for `owner` and root; sockets of
 * daemons that were killed are removed. Returns false after one line on standard error; a plain
 * user, who may not make one, gets none.
 */
bool control_server_open(struct control_server *server,
                         const unsigned char uuid[static STORE_UUID_BYTES], uid_t owner);

/* What to wait for; -1 where there is no socket. */
int control_server_fd(const struct control_server *server);

/*
 * Look at what has come. True for a request, which control_server_reply() has to answer. Call it
 * now and then, too: a connection that asks nothing is closed after a second.
 */
bool control_server_take(struct control_server *server, enum control_verb *ret_verb);

/* Answer; fills in what every reply has. */
void control_server_reply(struct control_server *server, struct control_reply *reply);

/* Remove the socket. */
void control_server_close(struct control_server *server);

#endif
