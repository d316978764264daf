/*
 * Key files and passphrases. Which are acceptable is the library's to say, the same for all
 * programs; the words and the exit status are made here.
 *
 * Knows no store.
 */
#include "keys.h"

#include "auto.h"
#include "credential.h"
#include "dirs.h"
#include "random.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Why a credential is no good: the rule that it breaks, or why it can't be read; NULL: neither. */
static const char *why(enum store_err err)
{
    const struct store_fault *fault = store_fault();

    if (err != STORE_ERR_KEY || fault->code != err)
        return NULL;
    return fault->sys_errno ? strerror(fault->sys_errno) : fault->reason;
}

enum status keys_read_file(const char *path, struct secbuf *ret_key)
{
    const struct task task = {"use the key file", path};
    enum store_err err = credential_read_key_file(path, ret_key);
    const char *reason = why(err);
    const char *next = NULL;

    if (err == STORE_OK)
        return STATUS_DONE;
    if (!reason)
        return fail_store(&task, err);
    if (store_fault()->sys_errno == ENOENT)
        next = "name the right one with --key-file";
    return fail(&task, STATUS_LOCKED, next, "%s", reason);
}

enum status keys_read_passphrase(const struct task *task, enum status failed, int fd,
                                 struct secbuf *ret_passphrase)
{
    enum store_err err = credential_read_passphrase(fd, ret_passphrase);
    const char *reason = why(err);

    if (err == STORE_OK)
        return STATUS_DONE;
    if (!reason)
        return fail_store(task, err);
    return fail(task, failed, NULL, "the passphrase on descriptor %d: %s", fd, reason);
}

static bool write_durably(int fd, const struct secbuf *key)
{
    size_t done = 0;

    while (done < key->len) {
        ssize_t n = write(fd, key->data + done, key->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return fsync(fd) == 0;
}

enum status keys_make_file(const char *path, struct secbuf *ret_key)
{
    const struct task task = {"make the key file", path};
    enum store_err err = random_alloc(ret_key, STORE_KEY_BYTES);
    AUTO_CLOSE int fd = -1;

    if (err != STORE_OK)
        return fail_code(&task, err);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(&task, STATUS_FAILED, NULL, "%s", strerror(errno));
    if (!write_durably(fd, ret_key) || !dirs_sync_parent(path)) {
        int error = errno;
        unlink(path);
        return fail(&task, STATUS_FAILED, NULL, "%s", strerror(error));
    }
    return STATUS_DONE;
}
