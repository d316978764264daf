/*
 * See reads_file.h. All workers have the same open file, one after the other.
 */
#include "reads_file.h"
#include "clock.h"
#include "log.h"
#include "passing.h"

#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS 1000

static enum store_err open_file(struct reads_file *file, bool create)
{
    int fd = -1;
    enum store_err err = create
                             ? audit_file_begin(file->store, file->name, &fd, &file->known)
                             : audit_file_open(file->store, file->name, false, &fd, &file->known);

    if (err)
        return err;
    reads_file_close(file);
    file->fd = fd;
    return STORE_OK;
}

bool reads_file_open(struct reads_file *file)
{
    enum store_err err = open_file(file, true);
    const struct store_fault *fault = store_fault();

    if (err && fault->sys_errno)
        log_system_error("record reads in", fault->object, fault->sys_errno);
    else if (err)
        log_store_error("record reads of", file->store, err);
    return err == STORE_OK;
}

bool reads_file_reopen(struct reads_file *file, bool create)
{
    return create ? reads_file_open(file) : open_file(file, false) == STORE_OK;
}

bool reads_file_find(struct reads_file *file, struct kept_reads *kept)
{
    int64_t now = clock_now_ms();

    if (!kept->lost || now - file->tried_ms < LOOK_MS)
        return false;
    file->tried_ms = now;
    return reads_file_reopen(file, false);
}

bool reads_file_send(const struct reads_file *file, int socket)
{
    const char word = HANDOFF_RECORD;

    return passing_send(socket, &word, 1, MSG_DONTWAIT | MSG_NOSIGNAL, file->fd) == 1;
}

void reads_file_close(struct reads_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
