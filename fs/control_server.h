/*
 * The daemon's control socket (store/control.h): several connections at once, none of which can
 * hold the daemon up.
 */
#ifndef FS_CONTROL_SERVER_H
#define FS_CONTROL_SERVER_H

#include "control.h"

#include <sys/types.h>

#define CONTROL_CONNECTIONS 32

struct control_connection {
    int fd; /* -1: free */
    int64_t since_ms;
    uint64_t generation; /* waits for it; 0: has not asked yet */
    bool rekeys;         /* its end is to tell that it has committed */
};

struct control_server {
    int epoll_fd; /* readable when there is something to take; -1 where there is no socket */
    int listening_fd;
    const char *store;
    bool committed; /* the last rekey */
    bool full;      /* others have to wait for a connection to be closed */
    char name[CONTROL_PREFIX_BYTES + 16];
    struct secbuf message; /* the last that was received */
    struct control_connection connections[CONTROL_CONNECTIONS];
};

/*
 * Make the socket of a daemon that serves the file `store` (which must outlive the server), with
 * that `uuid`, at `mountpoint`, for `owner` and root; sockets of daemons that were killed are
 * removed. Returns false after one line on standard error; a plain user, who may not make one, gets
 * none.
 */
bool control_server_open(struct control_server *server, const char *store,
                         const unsigned char uuid[static STORE_UUID_BYTES], const char *mountpoint,
                         uid_t owner);

/*
 * Take the next request that has come, other than CONTROL_CONFIRM, for which the connection waits.
 * Call it until it returns NULL, and now and then, too: a connection that asks nothing is closed
 * after a second. control_server_reply() has to answer.
 */
struct control_connection *control_server_take(struct control_server *server,
                                               enum control_verb *ret_verb);

/*
 * Answer CONTROL_REKEY, and have the connection wait, for a minute at most; with an error it is
 * closed. The key is in `server->message`, a struct control_rekey_request, to be wiped.
 */
void control_server_await_rekey(struct control_connection *connection, struct control_reply *reply);

/* Whether one still waits; and whether the last one that did has said that it has committed. */
bool control_server_rekeys(const struct control_server *server);
bool control_server_has_committed(const struct control_server *server);

/* Answer, and close the connection; fills in what every reply has. */
void control_server_reply(struct control_connection *connection, struct control_reply *reply);

/* The same, and give the file `fd` away with the reply; it is closed. */
void control_server_reply_file(struct control_connection *connection, struct control_reply *reply,
                               int fd);

/* Answer all that wait for the generation of `reply`, or an earlier one. */
void control_server_confirm(struct control_server *server, struct control_reply *reply);

/* Remove the socket. Nothing where there is none. */
void control_server_close(struct control_server *server);

#endif
