/*
 * See reads_file.h. All workers have the same open file, one after the other.
 */
#include "reads_file.h"
#include "clock.h"
#include "log.h"
#include "passing.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS 1000

void reads_file_find_place(struct reads_file *file)
{
    if (!audit_file_place(file->store, file->name, file->place))
        file->place[0] = '\0';
}

static enum store_err open_file(struct reads_file *file, enum audit_missing missing)
{
    int fd = -1;
    const char *name = file->place[0] ? file->place : file->name;
    enum store_err err = audit_file_open(file->store, name, missing, &fd, &file->known);

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

/* The worker may set the other one meanwhile, and this one only after that. An addition, unlike a
 * mere look, comes after all that was read before. */
static struct audit_head head_of(struct kept_reads *kept)
{
    struct audit_head head;
    uint32_t count;

    do {
        count = kept->head;
        head = kept->heads[count % 2];
    } while (count != atomic_fetch_add(&kept->head, 0));
    return head;
}

void reads_file_tell(const struct reads_file *file, struct kept_reads *kept,
                     struct control_reply *ret_reply)
{
    memcpy(ret_reply->record, file->place, sizeof ret_reply->record);
    ret_reply->record_end = head_of(kept);
    ret_reply->unrecorded = kept->unrecorded;
}

void reads_file_close(struct reads_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
