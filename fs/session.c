/*
 * The FUSE session from its beginning, or its going on with another process, to its end.
 */
#define FUSE_USE_VERSION 312
#include "session.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool open_session(struct serve *serve, int device_fd)
{
    char name[] = "secretfs";
    char *argv[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    char path[32];

    serve->session = fuse_session_new(&args, &serve_operations, sizeof serve_operations, serve);
    fuse_opt_free_args(&args);
    serve->device_fd = serve->session ? fcntl(device_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (serve->device_fd < 0)
        return false;
    /* From here on the session owns it, and closes it when destroyed. */
    snprintf(path, sizeof path, "/dev/fd/%d", serve->device_fd);
    return fuse_session_mount(serve->session, path) == 0;
}

/* The kernel's first request, answered and kept for the processes to come. */
static bool receive_init(struct serve *serve, struct kept *kept)
{
    struct fuse_buf buf = {.mem = NULL};
    int n;

    do
        n = fuse_session_receive_buf(serve->session, &buf);
    while (n == -EINTR);
    bool fits = n > 0 && (size_t)n <= sizeof kept->init;
    if (fits) {
        memcpy(kept->init, buf.mem, (size_t)n);
        fuse_session_process_buf(serve->session, &buf);
        kept->init_bytes = (uint32_t)n;
    }
    free(buf.mem);
    return fits;
}

/* The kernel takes the answer to a replayed INIT for one to an unknown request, and says ENOENT,
 * which libfuse ignores; only libfuse has to see it. */
static void replay_init(struct serve *serve, struct kept *kept)
{
    struct fuse_buf buf = {.mem = kept->init, .size = kept->init_bytes};
    fuse_session_process_buf(serve->session, &buf);
}

static enum serve_result begin_session(struct serve *serve, struct kept *kept)
{
    if (kept->init_bytes == 0)
        return receive_init(serve, kept) ? SERVE_STARTED : SERVE_FAILED;
    if (kept->init_bytes > sizeof kept->init)
        return SERVE_FAILED;
    replay_init(serve, kept);
    loop_note_deaths(kept);
    return serve_resend(serve) ? SERVE_STARTED : SERVE_CANT_RESUME;
}

static enum serve_result begin(struct serve *serve, int device_fd)
{
    enum serve_result result = SERVE_FAILED;
    int error = tree_set_top(&serve->tree, serve->options.subdir);
    if (error) {
        log_system_error("show the directory", serve->options.subdir, error);
        return SERVE_FAILED;
    }
    if (open_session(serve, device_fd))
        result = begin_session(serve, serve->kept);
    if (result == SERVE_STARTED) {
        serve->loop =
            loop_start(serve->session, serve->device_fd, serve->kept, serve->options.workers);
        result = serve->loop ? SERVE_STARTED : SERVE_FAILED;
    }
    if (result == SERVE_FAILED)
        log_error("cannot start a FUSE session");
    return result;
}

static void serve_free(struct serve *serve)
{
    if (serve->session)
        fuse_session_destroy(serve->session);
    values_release(&serve->values);
    free(serve);
}

enum serve_result serve_start(struct store *store, int device_fd, struct kept *kept,
                              const struct serve_options *options, struct serve **ret_serve)
{
    struct serve *serve = calloc(1, sizeof *serve);
    if (serve == NULL) {
        log_system_error("serve", "the store", ENOMEM);
        return SERVE_FAILED;
    }
    *serve = (struct serve){.options = *options,
                            .tree = TREE_INIT(store),
                            .reopen = REOPEN_INIT(&kept->reopen, (uint32_t)getpid()),
                            .kept = kept};
    serve->tree.top_is_root = options->top_is_root;
    values_init(&serve->values);
    enum serve_result result = begin(serve, device_fd);
    if (result == SERVE_STARTED)
        *ret_serve = serve;
    else
        serve_free(serve);
    return result;
}

int serve_ended_fd(const struct serve *serve)
{
    return loop_ended_fd(serve->loop);
}

bool serve_stop(struct serve *serve)
{
    bool succeeded = loop_stop(serve->loop);
    serve_free(serve);
    return succeeded;
}
