/*
 * What SQLite alone takes to write the rows of a store that was filled: all in one transaction, in
 * the order in which the store writes them, which is a secret's node and then its version.
 */
#include "bench.h"
#include "rows.h"

#include <stdio.h>

/* Ids are given in that order, but a node's is taken before its version's. */
static void insert_all(sqlite3 *db, const struct rows *nodes, const struct rows *versions)
{
    sqlite3_stmt *node = rows_prepare(db, ROWS_INSERT_NODE);
    sqlite3_stmt *version = rows_prepare(db, ROWS_INSERT_VERSION);
    size_t next = 0;

    for (size_t i = 0; i < nodes->count; i++) {
        rows_write(db, node, &nodes->items[i]);
        for (; next < versions->count &&
               (i + 1 == nodes->count || versions->items[next].id < nodes->items[i + 1].id);
             next++)
            rows_write(db, version, &versions->items[next]);
    }
    sqlite3_finalize(node);
    sqlite3_finalize(version);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bench_inserts STORE NEW-FILE\n");
        return 2;
    }
    sqlite3 *from = rows_open(argv[1]);
    struct rows nodes = rows_read(from, "node");
    struct rows versions = rows_read(from, "version");
    struct row root = rows_root(from);
    sqlite3 *to = rows_create(argv[2], from);

    int64_t begun = now_ns();
    rows_execute(to, "BEGIN");
    insert_all(to, &nodes, &versions);
    rows_write(to, rows_prepare(to, ROWS_REPLACE_ROOT), &root);
    int64_t filled = now_ns();
    rows_execute(to, "COMMIT");
    int64_t committed = now_ns();
    printf("insert rows %zu puts %lld commit %lld\n", nodes.count + versions.count,
           (long long)(filled - begun), (long long)(committed - filled));
    return 0;
}
