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

static enum store_err open_file(struct reads_file *file, enum audit_missing missing)
{
    int fd = -1;
    enum store_err err = audit_file_open(file->store, file->name, missing, &fd, &file->known);

    if (err)
        return err;
    reads_file_close(file);
    file->fd = fd;
    return STORE_OK;
}

bool reads_file_open(struct reads_file *file)
{
    enum store_err err = open_file(file, AUDIT_MISSING_BEGINS);
    const struct store_fault *fault = store_fault();

    if (err && fault->sys_errno)
        log_system_error("record reads in", fault->object, fault->sys_errno);
    else if (err)
        log_store_error("record reads of", file->store, err);
    return err == STORE_OK;
}

bool reads_file_find(struct reads_file *file, struct kept_reads *kept)
{
    int64_t now = clock_now_ms();

    if (!kept->lost || now - file->tried_ms < LOOK_MS)
        return false;
    file->tried_ms = now;
    return open_file(file, AUDIT_MISSING_FAILS) == STORE_OK;
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
