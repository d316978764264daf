/*
 * A row as it stands on disk, the one thing that the SQL module and the modules that seal, verify
 * and index share. Private. FORMAT.md, "Tables".
 */
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include <stddef.h>
#include <stdint.h>

/* The numbers are part of the format: they are authenticated with every row. */
enum table { TABLE_ROOT = 1, TABLE_SLOT = 2, TABLE_NODE = 3, TABLE_VERSION = 4 };
enum { TABLE_END = 5 };

#define ROW_LOOKUP_BYTES 32
#define ROW_SEAL_BYTES 40 /* a 24-byte nonce, then the 16-byte tag */

/* Pointers are borrowed. What a table does not have is NULL. */
struct row {
    uint64_t id;
    uint64_t generation;         /* the one that wrote the row; not in TABLE_ROOT */
    const unsigned char *lookup; /* TABLE_NODE: ROW_LOOKUP_BYTES */
    const unsigned char *seal;   /* all but TABLE_SLOT: ROW_SEAL_BYTES */
    const unsigned char *box;    /* NULL where it wasn't asked for */
    size_t box_len;
};

static inline const char *table_name(enum table table)
{
    switch (table) {
    case TABLE_ROOT:
        return "root";
    case TABLE_SLOT:
        return "slot";
    case TABLE_NODE:
        return "node";
    case TABLE_VERSION:
        return "version";
    }
    return "table";
}

#endif
