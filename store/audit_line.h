/*
 * One line of the record, and the state of the chain behind it. FORMAT.md, "The record". Knows no
 * file. Private.
 */
#ifndef STORE_AUDIT_LINE_H
#define STORE_AUDIT_LINE_H

#include "audit.h"
#include "seal.h"

#define AUDIT_SECOND_TEXT 20 /* "2026-11-24T18:20:31" */

/* The text of a second, kept, since many lines are of the same. Zero-initialise. */
struct audit_clock {
    int64_t second;
    char text[AUDIT_SECOND_TEXT];
};

/* Write the line that continues `head`, newline included. Returns its length, below AUDIT_LINE_MAX.
 * out: ret_chain  its hash */
size_t audit_line_write(const struct seal_keys *keys, const struct audit_head *head,
                        struct audit_clock *clock, const struct audit_entry *entry,
                        char ret_line[static AUDIT_LINE_MAX],
                        unsigned char ret_chain[static AUDIT_HASH_BYTES]);

/* What the chain needs of a line. */
struct audit_link {
    uint64_t sequence; /* one more than the number of the last line that its writer had seen */
    size_t body_len;   /* the bytes that the hash is over */
    unsigned char chain[AUDIT_HASH_BYTES];
};

/* False where the line, of `len` bytes without its newline, is not a whole one of ours. Verifies
 * nothing. */
bool audit_line_parse(const char *line, size_t len, struct audit_link *ret_link);

/* The same of a line's beginning, for its number alone. */
bool audit_line_sequence(const char *line, size_t len, uint64_t *ret_sequence);

/* Go on by the line of `len` bytes, of whatever kind; an empty one is none. */
void audit_head_fold(struct audit_head *head, const char *line, size_t len);

/*
 * Where the line at `text` ends: at a newline, or where it is as long as lines get. False where its
 * end is not there yet.
 * out: ret_line_len  without the newline; *ret_taken with it
 */
bool audit_line_end(const char *text, size_t len, size_t *ret_line_len, size_t *ret_taken);

#endif
