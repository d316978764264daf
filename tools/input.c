/*
 * Reading secret bytes. The buffer begins small and grows, because locked memory may be scarce:
 * users other than root have 64 KiB of it on some systems.
 *
 * Must not know the store.
 */
#include "input.h"

#include "auto.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FIRST_CAPACITY 4096

/* Twice the room, up to one byte beyond `max`, which is how too much is noticed. */
static enum store_err grow(struct secbuf *buf, size_t max)
{
    SECBUF_AUTO struct secbuf larger = SECBUF_INIT;
    size_t capacity = buf->capacity ? buf->capacity * 2 : FIRST_CAPACITY;
    enum store_err err = secbuf_alloc(&larger, capacity > max ? max + 1 : capacity);
    struct secbuf old = *buf;

    if (err != STORE_OK)
        return err;
    if (old.len > 0)
        memcpy(larger.data, old.data, old.len);
    larger.len = old.len;
    *buf = larger;
    larger = old;
    return STORE_OK;
}

static enum status too_large(const struct task *task, size_t max)
{
    if (max % (1024 * 1024) == 0)
        return fail(task, STATUS_FAILED, NULL, "the value is larger than %zu MiB (%zu bytes)",
                    max / (1024 * 1024), max);
    return fail(task, STATUS_FAILED, NULL, "the value is larger than %zu bytes", max);
}

/* `source` is what `fd` is, for messages: "standard input". */
static enum status read_all(const struct task *task, int fd, const char *source, size_t max,
                            struct secbuf *ret_value)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    ssize_t n = 1;

    while (n != 0) {
        if (value.len == value.capacity) {
            enum store_err err = grow(&value, max);
            if (err != STORE_OK)
                return fail_store(task, err);
        }
        n = read(fd, value.data + value.len, value.capacity - value.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(task, STATUS_FAILED, NULL, "reading %s failed: %s", source,
                        strerror(errno));
        value.len += (size_t)n;
        if (value.len > max)
            return too_large(task, max);
    }
    secbuf_release(ret_value);
    *ret_value = value;
    value = (struct secbuf)SECBUF_INIT;
    return STATUS_DONE;
}

enum status input_file(const struct task *task, const char *path, size_t max,
                       struct secbuf *ret_value)
{
    AUTO_CLOSE int fd = -1;

    if (strcmp(path, "-") == 0)
        return read_all(task, STDIN_FILENO, "standard input", max, ret_value);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(task, STATUS_FAILED, NULL, "opening '%s' failed: %s", path, strerror(errno));
    return read_all(task, fd, path, max, ret_value);
}
