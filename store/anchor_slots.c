/*
 * Overwriting in place costs one fdatasync(2); a new file that is renamed would take three syncs.
 * The locks are of open file descriptions, so they work between threads and for a file in memory
 * too.
 */
#include "anchor_slots.h"
#include "bytes.h"
#include "fault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "sfs-anch"
#define ANCHOR_FORMAT 1
#define RETRY_MS 1
#define READ_TRIES 100 /* somebody may be writing */

enum offset {
    AT_MAGIC = 0,
    AT_FORMAT = 8,
    AT_UUID = 12,
    AT_GENERATION = 28,
    AT_NEXT_ID = 36,
    AT_SEEN = 44,
    AT_ROOT_HASH = 52,
    AT_MAC = 68,
};

static_assert(AT_MAC + SEAL_MAC_BYTES == ANCHOR_SLOT_BYTES, "the slot's layout");

static void encode(const struct seal_keys *keys, const struct anchor_slot *slot,
                   unsigned char ret_bytes[ANCHOR_SLOT_BYTES])
{
    memcpy(ret_bytes + AT_MAGIC, MAGIC, AT_FORMAT);
    put_le(ret_bytes + AT_FORMAT, ANCHOR_FORMAT, 4);
    memcpy(ret_bytes + AT_UUID, keys->uuid, STORE_UUID_BYTES);
    put_le(ret_bytes + AT_GENERATION, slot->generation, 8);
    put_le(ret_bytes + AT_NEXT_ID, slot->next_id, 8);
    put_le(ret_bytes + AT_SEEN, (uint64_t)slot->seen_ns, 8);
    memcpy(ret_bytes + AT_ROOT_HASH, slot->root_hash, SEAL_ROOT_HASH_BYTES);
    seal_anchor_mac(keys, ret_bytes, AT_MAC, ret_bytes + AT_MAC);
}

/* Magic, format and uuid are under the MAC of a key that only this store has. */
static bool decode(const struct seal_keys *keys, const unsigned char bytes[ANCHOR_SLOT_BYTES],
                   struct anchor_slot *ret_slot)
{
    unsigned char mac[SEAL_MAC_BYTES];

    seal_anchor_mac(keys, bytes, AT_MAC, mac);
    if (sodium_memcmp(mac, bytes + AT_MAC, sizeof mac) != 0 ||
        memcmp(bytes + AT_MAGIC, MAGIC, AT_FORMAT) != 0 ||
        get_le(bytes + AT_FORMAT, 4) != ANCHOR_FORMAT ||
        memcmp(bytes + AT_UUID, keys->uuid, STORE_UUID_BYTES) != 0)
        return false;
    ret_slot->generation = get_le(bytes + AT_GENERATION, 8);
    ret_slot->next_id = get_le(bytes + AT_NEXT_ID, 8);
    ret_slot->seen_ns = (int64_t)get_le(bytes + AT_SEEN, 8);
    memcpy(ret_slot->root_hash, bytes + AT_ROOT_HASH, SEAL_ROOT_HASH_BYTES);
    return true;
}

/* What slot `number` holds; zeros are a file that was made when the power went. */
static enum store_err read_slot(int fd, const struct seal_keys *keys, unsigned number,
                                enum anchor_content *ret_content, struct anchor_slot *ret_slot)
{
    unsigned char bytes[ANCHOR_SLOT_BYTES] = {0};
    ssize_t n = pread(fd, bytes, sizeof bytes, (off_t)number * ANCHOR_SLOT_DISTANCE);

    if (n < 0)
        return fault_errno(errno, "read", "the anchor");
    if (sodium_is_zero(bytes, sizeof bytes))
        *ret_content = ANCHOR_EMPTY;
    else
        *ret_content = decode(keys, bytes, ret_slot) ? ANCHOR_READ : ANCHOR_BROKEN;
    return STORE_OK;
}

static enum store_err read_once(int fd, const struct seal_keys *keys,
                                enum anchor_content *ret_content, struct anchor_slot *ret_slot,
                                unsigned *ret_number)
{
    struct anchor_slot slots[2];
    enum anchor_content content[2];
    enum store_err err = read_slot(fd, keys, 0, &content[0], &slots[0]);

    if (!err)
        err = read_slot(fd, keys, 1, &content[1], &slots[1]);
    if (err)
        return err;
    unsigned later = content[1] == ANCHOR_READ &&
                     (content[0] != ANCHOR_READ || slots[1].generation > slots[0].generation);
    *ret_number = content[later] == ANCHOR_READ ? later : 1;
    *ret_content = content[later];
    if (content[later] == ANCHOR_READ)
        *ret_slot = slots[later];
    else if (content[1] == ANCHOR_BROKEN)
        *ret_content = ANCHOR_BROKEN;
    return STORE_OK;
}

bool anchor_slots_name(int fd, const unsigned char uuid[STORE_UUID_BYTES])
{
    unsigned char bytes[ANCHOR_SLOT_BYTES];

    for (unsigned i = 0; i < 2; i++)
        if (pread(fd, bytes, sizeof bytes, (off_t)i * ANCHOR_SLOT_DISTANCE) == sizeof bytes &&
            memcmp(bytes + AT_MAGIC, MAGIC, AT_FORMAT) == 0 &&
            memcmp(bytes + AT_UUID, uuid, STORE_UUID_BYTES) == 0)
            return true;
    return false;
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000}, NULL);
}

enum store_err anchor_slots_read(int fd, const struct seal_keys *keys,
                                 enum anchor_content *ret_content, struct anchor_slot *ret_slot,
                                 unsigned *ret_number)
{
    enum store_err err = read_once(fd, keys, ret_content, ret_slot, ret_number);
    for (int i = 1; !err && *ret_content == ANCHOR_BROKEN && i < READ_TRIES; i++) {
        pause_briefly();
        err = read_once(fd, keys, ret_content, ret_slot, ret_number);
    }
    return err;
}

enum store_err anchor_slots_write(int fd, const struct seal_keys *keys, unsigned number,
                                  const struct anchor_slot *slot)
{
    unsigned char bytes[ANCHOR_SLOT_BYTES];

    encode(keys, slot, bytes);
    ssize_t n = pwrite(fd, bytes, sizeof bytes, (off_t)number * ANCHOR_SLOT_DISTANCE);
    if (n >= 0 && n < (ssize_t)sizeof bytes)
        return fault_errno(ENOSPC, "write", "the anchor");
    if (n < 0 || fdatasync(fd) != 0)
        return fault_errno(errno, "write", "the anchor");
    return STORE_OK;
}

enum store_err anchor_slots_lock(int fd, unsigned wait_ms)
{
    for (unsigned waited = 0;; waited += RETRY_MS) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            return STORE_OK;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return fault_errno(errno, "lock", "the anchor");
        if (waited >= wait_ms)
            return fault(STORE_ERR_BUSY, "lock", "the anchor", "another process is writing it");
        pause_briefly();
    }
}

void anchor_slots_unlock(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    fcntl(fd, F_OFD_SETLK, &lock);
}
