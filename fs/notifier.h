/*
 * The notifier: a process of its own that changes names through the private mount, as rename(2)
 * and unlink(2), and seems to write to files, so that whoever watches hears of it. The worker can't
 * do it: its own threads have to answer the requests that this makes.
 *
 * Orders go to it, and reports come back, as messages on a socket that outlives both ends'
 * processes. A new worker may get reports that were meant for a former one, and any worker those of
 * an order that it has given more than once, so each has a number; an order that is carried out a
 * second time changes nothing.
 */
#ifndef FS_NOTIFIER_H
#define FS_NOTIFIER_H

#include "store.h"

#include <stdint.h>

#define NOTIFIER_NAME "secretfs-notify"

enum notifier_fd { NOTIFIER_SOCKET = 3, NOTIFIER_MOUNT, NOTIFIER_END };

enum notifier_act {
    NOTIFIER_SHOW = 1, /* rename stage/<id> to `path` */
    NOTIFIER_UNLINK,   /* unlink `path` */
    NOTIFIER_MOVE,     /* rename `from` to `path` */
    NOTIFIER_TAKE,     /* rename the directory `from` to one of stage/ that nobody sees */
    NOTIFIER_TOUCH,    /* let the watchers of inode/<id> believe that it was written to */
};

/* Sent as far as the end of `path`, with its NUL; or of `from` where that counts. */
struct notifier_order {
    uint64_t serial; /* notifier_ask() sets it */
    uint64_t id;
    uint32_t act;              /* enum notifier_act */
    char path[STORE_PATH_MAX]; /* below tree/, */
    char from[STORE_PATH_MAX]; /* as this is */
};

struct notifier_report {
    uint64_t serial; /* of the order */
    int32_t error;   /* 0, or an errno */
};

/*
 * Have an order carried out; its paths are terminated. Waits for the report, and asks again
 * where none comes, as the notifier may have been killed with the order in its hands.
 * `stop_fd`: readable when the wait is to end.
 * Returns 0, the notifier's errno, ECANCELED (stopped), or ETIMEDOUT after `timeout_ms`.
 */
#define NOTIFIER_ASK_MS 5000
#define NOTIFIER_TRY_MS 100 /* for one that has not answered the last time */
int notifier_ask(int socket, int stop_fd, struct notifier_order *order, int timeout_ms);

/* Be the notifier, with the descriptors of enum notifier_fd. Returns the exit status. */
int notifier_main(void);

#endif
