/*
 * The lock file beside a store. Its folder may belong to somebody else than whoever runs this: root
 * follows no link there, and gives away only a file that it has just made.
 */
#include "runlock.h"

#include "auto.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* The owner of the store must be able to take the lock that root's first run has made. */
static int make(const char *path, const char *store)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0 && geteuid() == 0 &&
        (stat(store, &st) != 0 || fchown(fd, st.st_uid, st.st_gid) != 0)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

enum status runlock_take(const struct task *task, const char *store, int *ret_fd)
{
    AUTO_FREE char *path = NULL;
    int fd;

    if (asprintf(&path, "%s-rotate", store) < 0)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    fd = make(path, store);
    if (fd < 0 && errno == EEXIST)
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = fd;
        return STATUS_DONE;
    }
    if (fd >= 0 && errno == EWOULDBLOCK)
        fail(task, STATUS_FAILED, "let it end", "another run is at it");
    else
        fail(task, STATUS_FAILED, NULL, "the lock '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return STATUS_FAILED;
}
