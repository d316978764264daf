/*
 * Which rotators may run.
 *
 * Whoever can write to the file, or to a directory on the way to it, chooses what root runs. The
 * way is walked by descriptors, so that no link is followed; where it holds, the path names the
 * same file, since only root could exchange it. The file can't be run by its descriptor: an
 * interpreter has to open it again, when the descriptor is closed.
 */
#include "rotator.h"

#include "auto.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const char *rotator_step_name(enum store_step step)
{
    switch (step) {
    case STORE_STEP_NONE:
        break;
    case STORE_STEP_CREATE:
        return "create";
    case STORE_STEP_SET:
        return "set";
    case STORE_STEP_TEST:
        return "test";
    case STORE_STEP_FINISH:
        return "finish";
    }
    return "none";
}

const char *rotator_name_problem(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return "it is no name of a file";
    if (strchr(name, '/'))
        return "it is the name of a file in " ROTATOR_FOLDER ", without a slash";
    if (strlen(name) > STORE_ROTATOR_MAX)
        return "it is longer than 64 bytes";
    return text_printable(name) ? NULL : "it has bytes that can't be printed";
}

/* Why what `st` describes can't be trusted, or NULL. */
static const char *distrust(const struct stat *st)
{
    if (st->st_uid != 0)
        return "it does not belong to root";
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return "its group or others can write to it";
    return NULL;
}

static enum status refuse(const struct task *task, const char *path, const char *reason)
{
    return fail(task, STATUS_FAILED, "see ROTATORS in secretctl(1)",
                "its rotator can't be used: '%s': %s", path, reason);
}

/* Go on to the directory `name` in *fd; `path` is what it is called in messages. */
static enum status enter(const struct task *task, const char *path, const char *name, int *fd)
{
    struct stat st;
    const char *reason;
    int next = openat(*fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (next < 0)
        return refuse(task, path, errno == ENOTDIR ? "it is no directory" : strerror(errno));
    close(*fd);
    *fd = next;
    if (fstat(*fd, &st) != 0)
        return refuse(task, path, strerror(errno));
    reason = distrust(&st);
    return reason ? refuse(task, path, reason) : STATUS_DONE;
}

/* Walk the absolute path `folder`. out: fd  the folder, whatever it was before */
static enum status walk(const struct task *task, const char *folder, int *fd)
{
    AUTO_FREE char *path = strdup(folder);
    enum status status = path ? STATUS_DONE : fail_code(task, STORE_ERR_NO_MEMORY);
    char *at = path;

    if (status != STATUS_DONE)
        return status;
    *fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return refuse(task, "/", strerror(errno));
    status = enter(task, "/", ".", fd);
    while (status == STATUS_DONE && at && at[0] == '/') {
        const char *name = at + 1;
        at = strchr(name, '/');
        if (at)
            *at = '\0';
        status = enter(task, path, name, fd);
        if (at)
            *at = '/';
    }
    return status;
}

static const char *program_problem(int folder, const char *name, const char *program)
{
    struct stat st;
    struct stat by_path;
    AUTO_CLOSE int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "it is not a regular file";
    if (distrust(&st))
        return distrust(&st);
    if (st.st_mode & (S_ISUID | S_ISGID))
        return "it has the set-user-ID or set-group-ID bit";
    if (!(st.st_mode & S_IXUSR))
        return "it is not executable";
    if (lstat(program, &by_path) != 0)
        return strerror(errno);
    if (by_path.st_dev != st.st_dev || by_path.st_ino != st.st_ino)
        return "it was exchanged just now";
    return NULL;
}

enum status rotator_find(const struct task *task, const char *folder, const char *name,
                         char **ret_program)
{
    AUTO_CLOSE int fd = -1;
    AUTO_FREE char *program = NULL;
    const char *problem = rotator_name_problem(name);
    enum status status;

    if (problem)
        return refuse(task, name, problem);
    if (asprintf(&program, "%s/%s", folder, name) < 0) {
        program = NULL;
        return fail_code(task, STORE_ERR_NO_MEMORY);
    }
    status = walk(task, folder, &fd);
    if (status != STATUS_DONE)
        return status;
    problem = program_problem(fd, name, program);
    if (problem)
        return refuse(task, program, problem);
    *ret_program = program;
    program = NULL;
    return STATUS_DONE;
}
