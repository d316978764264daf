/*
 * A change that doesn't verify is not applied: the state verified last stays served, and the log
 * says so once. Failures are tried again every second, in case it was an I/O error; a locked store
 * more often, so that what was committed is shown soon after the lock is gone.
 */
#include "follow.h"
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_MS 1000
#define RETRY_BUSY_MS 100

struct follow {
    struct store *store;
    struct serve *serve;
    struct kept *kept;
    int watch_fd;
    int stop_fd;
    bool resynced;
    pthread_t thread;
};

/* In this order: a worker that dies in between must not hold what is shown. */
static void note_applied(struct follow *f)
{
    const char word = HANDOFF_APPLIED;
    uint64_t generation = store_generation(f->store);

    if (f->kept->applied == generation)
        return;
    f->kept->shown = store_next_id(f->store);
    f->kept->applied = generation;
    send(HANDOFF_SOCKET, &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What a former process did not live to tell the kernel. errors: BUSY; it is still to do then. */
static enum store_err resync(struct follow *f)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    enum store_err err = STORE_OK;

    if (f->kept->applied != store_generation(f->store)) {
        err = store_changed_since(f->store, f->kept->applied, &changes);
        if (err && err != STORE_ERR_BUSY) {
            log_store_error("read the latest changes of", "the store", err);
            store_hold_names(f->store, UINT64_MAX); /* shown at once, without events */
        }
        if (err != STORE_ERR_BUSY)
            f->resynced = serve_changes(f->serve, &changes, true, f->stop_fd);
    } else {
        f->resynced = true;
    }
    store_changes_release(&changes);
    if (f->resynced)
        note_applied(f);
    return err == STORE_ERR_BUSY ? err : STORE_OK;
}

static enum store_err refresh(struct follow *f, enum store_err before)
{
    struct store_changes changes = STORE_CHANGES_INIT;
    enum store_err err = f->resynced ? STORE_OK : resync(f);
    if (!err)
        err = store_refresh(f->store, &changes);

    if (err && err != before)
        log_store_error("follow; serving the last verified state of", store_path(f->store), err);
    else if (!err && before)
        log_line("'%s' is verified again", store_path(f->store));
    bool told = serve_changes(f->serve, &changes, false, f->stop_fd);
    store_changes_release(&changes);
    if (!err && told && f->resynced)
        note_applied(f);
    return err;
}

static int retry_ms(enum store_err err)
{
    if (!err)
        return -1;
    return err == STORE_ERR_BUSY ? RETRY_BUSY_MS : RETRY_MS;
}

static void *run(void *arg)
{
    struct follow *f = arg;
    struct pollfd fds[] = {{.fd = f->stop_fd, .events = POLLIN},
                           {.fd = f->watch_fd, .events = POLLIN}};
    enum store_err err = refresh(f, STORE_OK);

    for (;;) {
        int ready = poll(fds, 2, retry_ms(err));
        if (ready < 0 && errno != EINTR) {
            log_system_error("go on watching", "the store", errno);
            return NULL;
        }
        if (ready > 0 && fds[0].revents)
            return NULL;
        if (ready == 0 || (ready > 0 && store_watch_drain(f->store)))
            err = refresh(f, err);
    }
}

bool follow_start(struct store *store, struct serve *serve, struct kept *kept, int watch_fd,
                  struct follow **ret_follow)
{
    struct follow *f = calloc(1, sizeof *f);
    if (f == NULL) {
        log_system_error("follow", "the store", ENOMEM);
        return false;
    }
    *f = (struct follow){.store = store, .serve = serve, .kept = kept, .watch_fd = watch_fd};
    f->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (f->stop_fd < 0 || pthread_create(&f->thread, NULL, run, f) != 0) {
        log_system_error("follow", "the store", errno);
        if (f->stop_fd >= 0)
            close(f->stop_fd);
        free(f);
        return false;
    }
    *ret_follow = f;
    return true;
}

void follow_stop(struct follow *f)
{
    uint64_t one = 1;

    if (f == NULL)
        return;
    while (write(f->stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(f->thread, NULL);
    close(f->stop_fd);
    free(f);
}
