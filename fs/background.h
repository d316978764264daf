/*
 * The daemon behind mount(8), which wants its helper back as soon as the tree is served: the
 * process that was started waits for one in the background, which serves. All that the latter and
 * its workers write on standard error comes through a pipe, and a thread of the supervisor passes
 * it on: to where the helper was started until the tree is served, to syslog(3) from then on. A
 * worker could not reconnect to syslog from its cage.
 *
 * Functions do nothing to a struct background that was not started.
 */
#ifndef FS_BACKGROUND_H
#define FS_BACKGROUND_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

struct background {
    int lines_fd;   /* what the daemon writes, to be passed on */
    int control_fd; /* tells the thread what is next; -1: not started */
    int orders_fd;  /* its other end */
    int status_fd;  /* to the process that waits */
    int stderr_fd;  /* of that process, -1 when the daemon serves */
    bool levels;    /* the lines there have levels */
    sem_t quiet;    /* posted when lines go to syslog */
    pthread_t thread;
};

#define BACKGROUND_INIT                                                                     \
    {                                                                                       \
        .lines_fd = -1, .control_fd = -1, .orders_fd = -1, .status_fd = -1, .stderr_fd = -1 \
    }

/*
 * Go on in the background: in a session without a terminal, with nothing on standard input and
 * output. Call it before there is a thread, a lock on a file or anything in locked memory, which a
 * child of fork(2) does not get.
 * in/out: passphrase_fd  moved where it is one of the standard descriptors
 * out:    ret_status     when it returns false: the exit status
 * Returns true in the process in the background; false in the one that was started, once the tree
 * is served, or once the other has ended.
 */
bool background_start(struct background *background, int *passphrase_fd, int *ret_status);

/* The tree is served: the process that waits ends, and lines go to syslog from the next on. */
void background_ready(struct background *background);

/* Pass on what has been written; nothing is from here on. */
void background_end(struct background *background);

#endif
