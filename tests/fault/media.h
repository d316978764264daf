/*
 * What is on the disk once the power is gone. For each file the model keeps what was synced, and
 * what was written since, in order. After a power cut each sector is as it was at some moment since
 * the last sync, each by itself: so writes are lost, torn and reordered, but a sector never goes
 * back further, and never mixes two of its states. Sizes, new names and removed names that were not
 * synced are as uncertain.
 */
#ifndef TESTS_FAULT_MEDIA_H
#define TESTS_FAULT_MEDIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEDIA_SECTOR 512

struct media_file;

/* Forget every file. */
void media_reset(void);

/* The file at `path`, as it is on the disk now, all of it synced. A path that is known already
 * gives the same file. `is_new`: its name is not synced yet. */
struct media_file *media_file(const char *path, bool is_new);

void media_write(struct media_file *file, uint64_t at, const void *bytes, size_t len);
void media_truncate(struct media_file *file, uint64_t size);
void media_sync(struct media_file *file);

/* `synced`: its folder is synced too, so it stays removed. */
void media_remove(const char *path, bool synced);

/*
 * Make the files on the disk what a power cut leaves of them. Nobody may have them open. With seed
 * 0 nothing that was not synced is left, with seed 1 all of it, else some.
 */
void media_cut(uint64_t seed);

/* A whole file. out:  ret_len; caller frees the bytes */
unsigned char *media_read_file(const char *path, size_t *ret_len);
void media_write_file(const char *path, const unsigned char *bytes, size_t len);

#endif
