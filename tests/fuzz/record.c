/* The file of a record, that somebody without the key has written: its end is looked for, a line is
 * appended, and all of it is verified. */
#include "audit.h"
#include "audit_tail.h"
#include "audit_verify.h"
#include "fuzz.h"
#include "state.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct store *keyed_store(void)
{
    static struct store store;
    static const unsigned char uuid[STORE_UUID_BYTES];
    struct secbuf root_key = SECBUF_INIT;

    if (store.keys.keys.data)
        return &store;
    pthread_rwlock_init(&store.lock, NULL);
    FUZZ_PROMISE(secmem_init() == STORE_OK);
    FUZZ_PROMISE(secbuf_alloc(&root_key, STORE_KEY_BYTES) == STORE_OK);
    root_key.len = STORE_KEY_BYTES;
    FUZZ_PROMISE(seal_keys_derive(&store.keys, &root_key, uuid) == STORE_OK);
    secbuf_release(&root_key);
    return &store;
}

static void keep_place(void *arg, const struct audit_place *place)
{
    *(struct audit_place *)arg = *place;
}

static void append(struct store *store, int fd)
{
    const struct audit_entry entry = {.event = AUDIT_OPEN, .path = "a"};
    struct audit_place place;
    struct audit_log *log;

    FUZZ_PROMISE(audit_log_new(store, dup(fd), NULL, &log) == STORE_OK);
    FUZZ_PROMISE(audit_append(log, &entry, keep_place, &place) == STORE_OK);
    FUZZ_PROMISE(audit_has(log, &place));
    audit_log_free(log);
}

static char file_name[] = "/tmp/fuzz-record-XXXXXX";

static void remove_file(void)
{
    unlink(file_name);
}

/* One for all inputs: one without a name is not appended to. */
static int fresh_file(void)
{
    static int fd = -1;

    if (fd < 0) {
        fd = mkostemp(file_name, O_APPEND | O_CLOEXEC);
        atexit(remove_file);
    }
    FUZZ_PROMISE(fd >= 0 && ftruncate(fd, 0) == 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct store *store = keyed_store();
    int fd = fresh_file();
    const struct audit_evidence evidence = {&fd, 1, NULL, 0};
    struct audit_report report;
    struct audit_head head;
    uint64_t end = 0;
    bool found;

    FUZZ_PROMISE(write(fd, data, len) == (ssize_t)len);
    FUZZ_PROMISE(audit_tail_find(fd, &found, &head, &end) == STORE_OK && end <= len);
    FUZZ_PROMISE(audit_verify(store, &evidence, &report) == STORE_OK);
    append(store, fd);
    FUZZ_PROMISE(audit_verify(store, &evidence, &report) == STORE_OK);
    return 0;
}
