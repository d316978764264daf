/*
 * Durable commits in turn: one by the store, of a new version of a secret; one by SQLite alone, of
 * rows of the same sizes in a copy of that store, which are a version, its node and the root
 * record. Beside them what the disk takes by itself: a page that is appended to a file, or written
 * again in its place, and synced.
 *
 * The store has more to make durable: its change is on record before the commit, and its anchor is
 * advanced after it.
 */
#include "bench.h"
#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_BYTES 64
#define PATH_BYTES 32
#define PAGE_BYTES 4096

struct peer {
    sqlite3 *db;
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    sqlite3_stmt *version;
    sqlite3_stmt *node;
    sqlite3_stmt *root;
    struct rows nodes;
    struct row a_version; /* as each is written, with an id of its own */
    struct row a_root;
};

static struct peer start_peer(const char *path)
{
    struct peer peer = {.db = rows_open(path)};
    struct rows versions = rows_read(peer.db, "version");

    peer.begin = rows_prepare(peer.db, "BEGIN IMMEDIATE");
    peer.commit = rows_prepare(peer.db, "COMMIT");
    peer.version = rows_prepare(peer.db, ROWS_INSERT_VERSION);
    peer.node = rows_prepare(peer.db, ROWS_REPLACE_NODE);
    peer.root = rows_prepare(peer.db, ROWS_REPLACE_ROOT);
    peer.nodes = rows_read(peer.db, "node");
    peer.a_root = rows_root(peer.db);
    if (versions.count == 0 || peer.nodes.count < 2)
        die("write the same rows", "the store is empty");
    peer.a_version = versions.items[versions.count - 1];
    return peer;
}

/* `number` counts from 0; the first node is the root directory. */
static void commit_rows(struct peer *peer, size_t number)
{
    struct row *node = &peer->nodes.items[1 + number % (peer->nodes.count - 1)];

    node->generation = ++peer->a_version.generation;
    peer->a_version.id++;
    sqlite3_step(peer->begin);
    sqlite3_reset(peer->begin);
    rows_write(peer->db, peer->version, &peer->a_version);
    rows_write(peer->db, peer->node, node);
    rows_write(peer->db, peer->root, &peer->a_root);
    rows_write(peer->db, peer->commit, NULL);
}

static void write_page(int fd, off_t at)
{
    static const char page[PAGE_BYTES];

    if (pwrite(fd, page, sizeof page, at) != (ssize_t)sizeof page || fdatasync(fd) != 0)
        die("write a page", strerror(errno));
}

/* ---- In turn ------------------------------------------------------------- */

enum { STORE, SQLITE, APPEND, REWRITE, KINDS };
static const char *const kinds[KINDS] = {"store", "sqlite", "append", "rewrite"};

static void commit_one(unsigned kind, struct store *store, struct peer *peer, int disk,
                       size_t number)
{
    char name[PATH_BYTES];
    char *paths[] = {name};

    if (kind == SQLITE) {
        commit_rows(peer, number);
    } else if (kind == APPEND) {
        write_page(disk, (off_t)(number + 1) * PAGE_BYTES);
    } else if (kind == REWRITE) {
        write_page(disk, 0);
    } else {
        snprintf(name, sizeof name, "%zu", number % (peer->nodes.count - 1));
        put_paths(store, paths, 1, VALUE_BYTES);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: bench_commits STORE KEY-FILE COPY-OF-STORE PAGES COUNT\n");
        return 2;
    }
    struct times *times[KINDS] = {times_new(), times_new(), times_new(), times_new()};
    struct store *store = open_store(argv[1], argv[2], STORE_READ_WRITE);
    struct peer peer = start_peer(argv[3]);
    int disk = open(argv[4], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    size_t count = number_of(argv[5]);

    if (disk < 0)
        die("make a file", strerror(errno));
    for (size_t i = 0; i < count * KINDS; i++) {
        unsigned kind = (unsigned)((i + i / KINDS) % KINDS);
        int64_t begun = now_ns();
        commit_one(kind, store, &peer, disk, i / KINDS);
        times_add(times[kind], now_ns() - begun);
    }
    for (unsigned kind = 0; kind < KINDS; kind++)
        times_print(kinds[kind], times[kind]);
    store_close(store);
    return 0;
}
