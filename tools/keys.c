/*
 * Key files, identities and passphrases. Which are acceptable is the library's to say, the same for
 * all programs; the words and the exit status are made here.
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

const char *keys_kind_name(enum store_slot_kind kind)
{
    switch (kind) {
    case STORE_SLOT_KEYFILE:
        return "keyfile";
    case STORE_SLOT_PASSPHRASE:
        return "passphrase";
    case STORE_SLOT_RECIPIENT:
        return "recipient";
    case STORE_SLOT_COMMAND:
        return "command";
    }
    return "unknown";
}

static struct task task_of(const struct credential_source *source)
{
    switch (source->kind) {
    case STORE_SLOT_KEYFILE:
        return (struct task){"use the key file", source->path};
    case STORE_SLOT_RECIPIENT:
        return (struct task){"use the identity", source->path};
    case STORE_SLOT_COMMAND:
        return (struct task){"use the unlock command", source->path};
    case STORE_SLOT_PASSPHRASE:
        break;
    }
    return (struct task){"use", "the key"};
}

static const char *option_of(enum store_slot_kind kind)
{
    switch (kind) {
    case STORE_SLOT_KEYFILE:
        return "name the right one with --key-file";
    case STORE_SLOT_RECIPIENT:
        return "name the right one with --identity";
    case STORE_SLOT_COMMAND:
        return "name the right one with --unlock-command";
    case STORE_SLOT_PASSPHRASE:
        break;
    }
    return NULL;
}

enum status keys_read(const struct credential_source *source, struct secbuf *ret_key)
{
    const struct task task = task_of(source);
    enum store_err err = credential_read(source, ret_key);
    const char *reason = why(err);

    if (err == STORE_OK)
        return STATUS_DONE;
    if (!reason)
        return fail_store(&task, err);
    return fail(&task, STATUS_LOCKED,
                store_fault()->sys_errno == ENOENT ? option_of(source->kind) : NULL, "%s", reason);
}

enum status keys_refused(struct store *store, const struct task *task,
                         const struct credential_source *source)
{
    char tried[CREDENTIAL_TRIED_MAX];

    credential_tried(store, source->kind, tried);
    if (!source->path)
        return fail(task, STATUS_LOCKED, NULL, "no key slot opens with this passphrase (%s)",
                    tried);
    return fail(task, STATUS_LOCKED, option_of(source->kind), "no key slot opens with %s '%s' (%s)",
                credential_name(source->kind), source->path, tried);
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

static bool write_durably(int fd, const struct secbuf *bytes)
{
    size_t done = 0;

    while (done < bytes->len) {
        ssize_t n = write(fd, bytes->data + done, bytes->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return fsync(fd) == 0;
}

enum status keys_write_file(const struct task *task, const char *path, const struct secbuf *bytes)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail(task, STATUS_FAILED, NULL, "%s", strerror(errno));
    if (!write_durably(fd, bytes) || !dirs_sync_parent(path)) {
        int error = errno;
        unlink(path);
        return fail(task, STATUS_FAILED, NULL, "%s", strerror(error));
    }
    return STATUS_DONE;
}

enum status keys_make_file(const char *path, struct secbuf *ret_key)
{
    const struct task task = {"make the key file", path};
    enum store_err err = random_alloc(ret_key, STORE_KEY_BYTES);

    return err == STORE_OK ? keys_write_file(&task, path, ret_key) : fail_code(&task, err);
}
