/*
 * Keys for new key slots. A key file that is there is used as it is. Knows no command.
 */
#include "newkey.h"

#include "keys.h"
#include "prompt.h"
#include "recipient.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int newkey_count(const struct newkey_wanted *wanted)
{
    return (wanted->key_file != NULL) + wanted->passphrase + (wanted->passphrase_fd >= 0) +
           (wanted->recipient != NULL) + (wanted->command != NULL);
}

static enum status get_file(const char *path, struct newkey *key)
{
    const struct task task = {"make the key file", path};
    const struct credential_source source = {STORE_SLOT_KEYFILE, (char *)path};
    struct stat st;
    enum status status;

    key->path = path;
    if (lstat(path, &st) == 0)
        return keys_read(&source, &key->secret);
    if (!dirs_make_parents(path, &key->dirs))
        return fail(&task, STATUS_FAILED, NULL, "making its directory failed: %s", strerror(errno));
    status = keys_make_file(path, &key->secret);
    key->file_made = status == STATUS_DONE;
    return status;
}

static enum status get_passphrase(const struct task *task, const struct newkey_wanted *wanted,
                                  struct newkey *key)
{
    enum status status;

    if (wanted->passphrase_fd >= 0)
        return keys_read_passphrase(task, STATUS_FAILED, wanted->passphrase_fd, &key->secret);
    status =
        prompt_twice(task, STATUS_FAILED, "New passphrase: ", STORE_PASSPHRASE_MAX, &key->secret);
    if (status == STATUS_DONE && key->secret.len == 0)
        status = fail(task, STATUS_FAILED, NULL, "the passphrase is empty");
    return status;
}

static enum status get_recipient(const char *text, struct newkey *key)
{
    const struct task task = {"use the public key", text};
    /* Whoever gives an identity in its place has it in the history of their shell already, but it
     * is not repeated here. */
    const struct task hidden = {"use", "the public key"};

    key->slot.recipient = key->recipient;
    if (recipient_parse(text, key->recipient) == STORE_OK)
        return STATUS_DONE;
    return fail(strncmp(text, RECIPIENT_PREFIX, strlen(RECIPIENT_PREFIX)) == 0 ? &task : &hidden,
                STATUS_FAILED, "take it from 'secretctl identity show'", "%s",
                store_fault()->reason);
}

static enum status get_command(const char *path, struct newkey *key)
{
    const struct credential_source source = {STORE_SLOT_COMMAND, (char *)path};

    key->path = path;
    key->slot.command = path;
    return keys_read(&source, &key->secret);
}

static enum status get(const struct task *task, const struct newkey_wanted *wanted,
                       struct newkey *key)
{
    switch (key->slot.credential.kind) {
    case STORE_SLOT_KEYFILE:
        return get_file(wanted->key_file, key);
    case STORE_SLOT_PASSPHRASE:
        return get_passphrase(task, wanted, key);
    case STORE_SLOT_RECIPIENT:
        return get_recipient(wanted->recipient, key);
    case STORE_SLOT_COMMAND:
        return get_command(wanted->command, key);
    }
    return STATUS_FAILED;
}

enum status newkey_get(const struct task *task, const struct newkey_wanted *wanted,
                       struct newkey *key)
{
    enum status status;

    key->slot.credential.secret = &key->secret;
    key->slot.credential.kind = wanted->key_file    ? STORE_SLOT_KEYFILE
                                : wanted->recipient ? STORE_SLOT_RECIPIENT
                                : wanted->command   ? STORE_SLOT_COMMAND
                                                    : STORE_SLOT_PASSPHRASE;
    status = get(task, wanted, key);
    if (status != STATUS_DONE)
        newkey_undo(key);
    return status;
}

void newkey_undo(struct newkey *key)
{
    if (key->file_made)
        unlink(key->path);
    key->file_made = false;
    dirs_undo(&key->dirs);
}

void newkey_release(struct newkey *key)
{
    secbuf_release(&key->secret);
    dirs_release(&key->dirs);
}
