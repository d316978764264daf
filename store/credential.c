/*
 * Reading keys. A key that others can read is no key, so such a file is refused.
 */
#include "credential.h"
#include "fault.h"
#include "recipient.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

enum store_err credential_key_file(const char *named, char **ret_path, bool *ret_chosen)
{
    const char *credentials = variable("CREDENTIALS_DIRECTORY");
    char *path = NULL;

    *ret_chosen = true;
    if (named == NULL)
        named = variable(CREDENTIAL_KEY_FILE_VARIABLE);
    if (named == NULL && credentials) {
        if (asprintf(&path, "%s/" CREDENTIAL_NAME, credentials) < 0)
            return fault(STORE_ERR_NO_MEMORY, "find", "the key file", NULL);
        if (access(path, F_OK) == 0) {
            *ret_path = path;
            return STORE_OK;
        }
        free(path);
    }
    *ret_chosen = named != NULL;
    path = strdup(named ? named : CREDENTIAL_KEY_FILE);
    if (path == NULL)
        return fault(STORE_ERR_NO_MEMORY, "find", "the key file", NULL);
    *ret_path = path;
    return STORE_OK;
}

static enum store_err unreadable(const char *object)
{
    int sys_errno = errno;
    fault_errno(sys_errno, "read", object);
    return fault_recode(STORE_ERR_KEY);
}

/* A file that is as secret as it has to be, and of a size that can be right. */
static enum store_err check(int fd, const char *object, off_t min, off_t max, const char *size_rule)
{
    struct stat st;
    const char *reason = NULL;

    if (fstat(fd, &st) != 0)
        return unreadable(object);
    if (!S_ISREG(st.st_mode))
        reason = "it is not a regular file";
    else if (st.st_mode & (S_IRWXO | S_IWGRP))
        reason = "others can read or change it; give it mode 0600";
    else if (st.st_size < min || st.st_size > max)
        reason = size_rule;
    return reason ? fault(STORE_ERR_KEY, "read", object, reason) : STORE_OK;
}

/* One read(2), begun again when a signal interrupts it; a single byte or whole buffers. */
static ssize_t read_some(int fd, unsigned char *at, size_t len)
{
    ssize_t n;
    do
        n = read(fd, at, len);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Read a file of `min` to `max` bytes. out: ret  empty on failure */
static enum store_err read_file(const char *path, const char *object, size_t min, size_t max,
                                const char *size_rule, struct secbuf *ret)
{
    /* Without O_NONBLOCK a FIFO in its place would hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return unreadable(object);
    enum store_err err = check(fd, object, (off_t)min, (off_t)max, size_rule);
    if (!err)
        err = secbuf_alloc(ret, max);
    if (!err) {
        ssize_t n = read_some(fd, ret->data, ret->capacity);
        if (n < 0)
            err = unreadable(object);
        else if ((size_t)n < min)
            err = fault(STORE_ERR_KEY, "read", object, size_rule);
        else
            ret->len = (size_t)n;
    }
    close(fd);
    if (err)
        secbuf_release(ret);
    return err;
}

enum store_err credential_read_key_file(const char *path, struct secbuf *ret_key)
{
    return read_file(path, "the key file", STORE_KEY_BYTES, STORE_KEY_BYTES,
                     "a key file has exactly 32 bytes", ret_key);
}

enum store_err credential_read_identity(const char *path, struct secbuf *ret_identity)
{
    SECBUF_AUTO struct secbuf text = SECBUF_INIT;
    enum store_err err =
        read_file(path, "the identity", RECIPIENT_IDENTITY_LEN, RECIPIENT_IDENTITY_LEN + 1,
                  "an identity is one line, as 'secretctl identity new' makes it", &text);
    if (err)
        return err;
    if (text.data[text.len - 1] == '\n')
        text.len--;
    err = recipient_parse_identity(&text, ret_identity);
    return err == STORE_ERR_INVALID ? fault_recode(STORE_ERR_KEY) : err;
}

enum store_err credential_read(const struct credential_source *source, struct secbuf *ret_secret)
{
    switch (source->kind) {
    case STORE_SLOT_KEYFILE:
        return credential_read_key_file(source->path, ret_secret);
    case STORE_SLOT_RECIPIENT:
        return credential_read_identity(source->path, ret_secret);
    case STORE_SLOT_COMMAND:
        return credential_run_command(source->path, ret_secret);
    case STORE_SLOT_PASSPHRASE:
        break;
    }
    return fault(STORE_ERR_INVALID, "read", "the key", "it is in no file");
}

enum store_err credential_read_passphrase(int fd, struct secbuf *ret_passphrase)
{
    enum store_err err = secbuf_alloc(ret_passphrase, STORE_PASSPHRASE_MAX + 1);
    if (err)
        return err;
    /* Byte by byte: what stands behind the newline is for somebody else. */
    unsigned char *at = ret_passphrase->data;
    ssize_t n = 1;
    while (ret_passphrase->len <= STORE_PASSPHRASE_MAX && (n = read_some(fd, at, 1)) == 1 &&
           *at != '\n') {
        at++;
        ret_passphrase->len++;
    }
    if (n < 0)
        err = unreadable("the passphrase");
    else if (ret_passphrase->len == 0 || ret_passphrase->len > STORE_PASSPHRASE_MAX)
        err = fault(STORE_ERR_KEY, "read", "the passphrase", "it must be 1 to 1024 bytes long");
    if (err)
        secbuf_release(ret_passphrase);
    return err;
}
