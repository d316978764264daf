/*
 * See base.h. make.py makes the two files.
 */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (256 * 1024)
#define NAMES_MAX 4

static char folder[32];
static char paths[NAMES_MAX][64];

static struct base_file read_file(const char *name)
{
    char path[4096];
    struct base_file read = {malloc(FILE_MAX), 0};

    snprintf(path, sizeof path, BASE_STORES "/%s", name);
    FILE *file = fopen(path, "re");
    FUZZ_PROMISE(file != NULL && read.bytes != NULL);
    read.len = fread(read.bytes, 1, FILE_MAX, file);
    fclose(file);
    return read;
}

const struct base_file *base_a(void)
{
    static struct base_file a;
    if (a.bytes == NULL)
        a = read_file("a.db");
    return &a;
}

const struct base_file *base_b(void)
{
    static struct base_file b;
    if (b.bytes == NULL)
        b = read_file("b.db");
    return &b;
}

static void unlink_suffixed(const char *path, const char *suffix)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    unlink(name);
}

static void remove_folder(void)
{
    for (size_t i = 0; i < NAMES_MAX && paths[i][0]; i++) {
        unlink_suffixed(paths[i], "-wal");
        unlink_suffixed(paths[i], "-shm");
        unlink(paths[i]);
    }
    rmdir(folder);
}

static const char *path_of(const char *name)
{
    char path[64];
    size_t i = 0;

    if (folder[0] == '\0') {
        strcpy(folder, "/dev/shm/secretfs-fuzz.XXXXXX");
        FUZZ_PROMISE(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    while (paths[i][0] && strcmp(paths[i], path) != 0)
        i++;
    FUZZ_PROMISE(i < NAMES_MAX);
    strcpy(paths[i], path);
    return paths[i];
}

const char *base_write(const char *name, const unsigned char *bytes, size_t len)
{
    const char *path = path_of(name);

    unlink_suffixed(path, "-wal");
    unlink_suffixed(path, "-shm");
    FILE *file = fopen(path, "we");
    FUZZ_PROMISE(file != NULL && fwrite(bytes, 1, len, file) == len);
    FUZZ_PROMISE(fclose(file) == 0);
    return path;
}

enum store_err base_open(const char *path, struct store **ret_store)
{
    static struct base_file key;
    SECBUF_AUTO struct secbuf secret = SECBUF_INIT;
    const struct store_credential credential = {STORE_SLOT_KEYFILE, &secret};

    FUZZ_PROMISE(secmem_init() == STORE_OK);
    if (key.bytes == NULL)
        key = read_file("key");
    FUZZ_PROMISE(secbuf_alloc(&secret, key.len) == STORE_OK);
    memcpy(secret.data, key.bytes, key.len);
    secret.len = key.len;
    *ret_store = NULL;
    enum store_err err = store_open(path, STORE_READ_ONLY, ret_store);
    if (!err)
        err = store_unlock(*ret_store, &credential);
    if (!err)
        err = store_load(*ret_store);
    if (err) {
        store_close(*ret_store);
        *ret_store = NULL;
    }
    return err;
}

/* A secret as the two states have it; NULL where one does not. */
struct expected {
    const char *path;
    const char *in_a;
    const char *in_b;
    uint16_t mode_in_a;
    uint16_t mode_in_b;
};

#define GENERATION_A 5
#define GENERATION_B 9

static const struct expected expected[] = {
    {"dir/secret", "first", "second", 0400, 0400},
    {"dir/other", "the same", "the same", 0400, 0440},
    {"old", "gone", NULL, 0400, 0},
    {"new", NULL, "there", 0, 0400},
};

static void check_value(struct store *store, const struct store_attr *attr, const char *value)
{
    SECBUF_AUTO struct secbuf read = SECBUF_INIT;
    FUZZ_PROMISE(attr->size_bytes == strlen(value));
    if (store_read(store, attr->version, &read) == STORE_OK)
        FUZZ_PROMISE(read.len == strlen(value) && memcmp(read.data, value, read.len) == 0);
}

void base_check(struct store *store)
{
    uint64_t generation = store_generation(store);
    FUZZ_PROMISE(generation == GENERATION_A || generation == GENERATION_B);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct expected *e = &expected[i];
        const char *value = generation == GENERATION_A ? e->in_a : e->in_b;
        struct store_attr attr;
        enum store_err err = store_resolve(store, e->path, &attr);
        if (value == NULL) {
            FUZZ_PROMISE(err == STORE_ERR_NOT_FOUND);
            continue;
        }
        FUZZ_PROMISE(err == STORE_OK && attr.uid == 0 && attr.gid == 0);
        FUZZ_PROMISE(attr.mode == (generation == GENERATION_A ? e->mode_in_a : e->mode_in_b));
        check_value(store, &attr, value);
    }
}
