/*
 * See media.h.
 */
#include "media.h"
#include "helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 8
#define TRUNCATED SIZE_MAX /* as the length of a change */

/* A write, or a truncation to `at`. */
struct change {
    uint64_t at;
    size_t len;
    unsigned char *bytes;
    uint64_t size_after;
};

struct media_file {
    char path[128];
    unsigned char *synced;
    uint64_t synced_size;
    bool name_synced;
    bool removed; /* but not synced, unless it is gone altogether */
    struct change *changes;
    size_t count;
};

static struct media_file files[FILES_MAX];
static size_t file_count;

/* ---- Keeping book ------------------------------------------------------------------------------
 */

static void forget_changes(struct media_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        free(file->changes[i].bytes);
    free(file->changes);
    file->changes = NULL;
    file->count = 0;
}

static void forget(struct media_file *file)
{
    forget_changes(file);
    free(file->synced);
    *file = (struct media_file){0};
}

void media_reset(void)
{
    for (size_t i = 0; i < file_count; i++)
        forget(&files[i]);
    file_count = 0;
}

static struct media_file *find(const char *path)
{
    for (size_t i = 0; i < file_count; i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

unsigned char *media_read_file(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        fail_msg("cannot read %s", path);
    unsigned char *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return bytes;
}

void media_write_file(const char *path, const unsigned char *bytes, size_t len)
{
    unlink(path); /* a file that is cut and written anew is synced by ext4, which takes long */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

struct media_file *media_file(const char *path, bool is_new)
{
    struct media_file *file = find(path);
    if (file && !file->removed)
        return file;
    if (file == NULL) {
        assert_true(file_count < FILES_MAX);
        file = &files[file_count++];
    }
    forget(file); /* one that was removed and is made again: only the new one is followed */
    assert_true(strlen(path) < sizeof file->path);
    strcpy(file->path, path);
    file->name_synced = !is_new;
    if (!is_new)
        file->synced = media_read_file(path, &file->synced_size);
    return file;
}

static uint64_t size_now(const struct media_file *file)
{
    return file->count ? file->changes[file->count - 1].size_after : file->synced_size;
}

static struct change *add_change(struct media_file *file)
{
    struct change *grown = realloc(file->changes, (file->count + 1) * sizeof *grown);
    assert_non_null(grown);
    file->changes = grown;
    return &file->changes[file->count];
}

void media_write(struct media_file *file, uint64_t at, const void *bytes, size_t len)
{
    struct change *change = add_change(file);
    uint64_t size = size_now(file);

    *change = (struct change){at, len, malloc(len + 1), at + len > size ? at + len : size};
    assert_non_null(change->bytes);
    memcpy(change->bytes, bytes, len);
    file->count++;
}

void media_truncate(struct media_file *file, uint64_t size)
{
    *add_change(file) = (struct change){size, TRUNCATED, NULL, size};
    file->count++;
}

/* Apply to `image`, which has `size` bytes, the part of a change that lies between two offsets. */
static void apply(const struct change *change, unsigned char *image, uint64_t from, uint64_t to)
{
    if (change->len == TRUNCATED) {
        if (change->at > from)
            from = change->at;
        if (from < to)
            memset(image + from, 0, to - from);
        return;
    }
    if (change->at > from)
        from = change->at;
    if (change->at + change->len < to)
        to = change->at + change->len;
    if (from < to)
        memcpy(image + from, change->bytes + (from - change->at), to - from);
}

/* The bytes of a file `size` bytes long, each sector as it was after as many changes as
 * `count_of()` says. */
static unsigned char *image_of(const struct media_file *file, uint64_t size, uint64_t *random,
                               size_t (*count_of)(uint64_t *random, size_t count))
{
    unsigned char *image = calloc(1, size + 1);
    uint64_t kept = file->synced_size < size ? file->synced_size : size;

    assert_non_null(image);
    if (kept > 0)
        memcpy(image, file->synced, kept);
    for (uint64_t from = 0; from < size; from += MEDIA_SECTOR) {
        uint64_t to = from + MEDIA_SECTOR < size ? from + MEDIA_SECTOR : size;
        size_t count = count_of(random, file->count);
        for (size_t i = 0; i < count; i++)
            apply(&file->changes[i], image, from, to);
    }
    return image;
}

static size_t all_of(uint64_t *random, size_t count)
{
    (void)random;
    return count;
}

static size_t none_of(uint64_t *random, size_t count)
{
    (void)random;
    (void)count;
    return 0;
}

/* Often the last state or the synced one: then there is much of both in a file. */
static size_t some_of(uint64_t *random, size_t count)
{
    uint32_t r = next_random(random);
    if (r % 4 < 2)
        return r % 4 == 0 ? 0 : count;
    return (r >> 2) % (count + 1);
}

void media_sync(struct media_file *file)
{
    uint64_t size = size_now(file);
    unsigned char *image = image_of(file, size, NULL, all_of);

    free(file->synced);
    file->synced = image;
    file->synced_size = size;
    file->name_synced = true;
    forget_changes(file);
}

void media_remove(const char *path, bool synced)
{
    struct media_file *file = find(path);
    if (file == NULL)
        return;
    file->removed = true;
    if (synced || !file->name_synced)
        forget(file);
}

/* ---- The power cut -----------------------------------------------------------------------------
 */

static void cut(const struct media_file *file, uint64_t seed, uint64_t *random)
{
    size_t (*count_of)(uint64_t *, size_t) = seed == 0 ? none_of : seed == 1 ? all_of : some_of;
    size_t changes = count_of(random, file->count);
    bool there = file->name_synced || count_of(random, 1) > 0;

    if (file->removed)
        there = count_of(random, 1) == 0;
    if (!there) {
        unlink(file->path);
        return;
    }
    uint64_t size = changes ? file->changes[changes - 1].size_after : file->synced_size;
    unsigned char *image = image_of(file, size, random, count_of);
    media_write_file(file->path, image, size);
    free(image);
}

void media_cut(uint64_t seed)
{
    uint64_t random = seed;
    char *shm;

    for (size_t i = 0; i < file_count; i++) {
        if (files[i].path[0] == '\0')
            continue;
        cut(&files[i], seed, &random);
        assert_true(asprintf(&shm, "%s-shm", files[i].path) > 0); /* is memory */
        unlink(shm);
        free(shm);
    }
}
