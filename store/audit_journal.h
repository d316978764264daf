/*
 * Copies of the record's lines for the system's journal, or where there is none, for syslog. The
 * file is the record: what the journal doesn't take at once is lost to it, and counted.
 *
 * The journal gets fields, by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/):
 * one datagram each, which needs no library, and of a process in a cage no more than sendto(2).
 * Syslog gets the line as it is, behind "@cee: ", by which its parsers know JSON.
 */
#ifndef STORE_AUDIT_JOURNAL_H
#define STORE_AUDIT_JOURNAL_H

#include "audit.h"

#define AUDIT_JOURNAL_VARIABLE "SECRETFS_AUDIT_JOURNAL"
#define AUDIT_JOURNAL_SOCKET "/run/systemd/journal/socket"
#define AUDIT_SYSLOG_SOCKET "/dev/log"

enum audit_journal_kind {
    AUDIT_JOURNAL_NONE,
    AUDIT_JOURNAL_NATIVE,
    AUDIT_JOURNAL_SYSLOG,
};

/* Find out which of the two takes lines here. out: ret_fd  the caller's to close; -1 for none */
enum audit_journal_kind audit_journal_find(int *ret_fd);

/*
 * What sends copies over `fd`, which it owns from here on, also on failure. NULL when out of
 * memory. in: program  who says it, a constant; store  the path of the store, which has to outlive
 * it
 */
struct audit_journal *audit_journal_new(enum audit_journal_kind kind, int fd, const char *program,
                                        const char *store);
void audit_journal_free(struct audit_journal *journal);

/* Send one more line, of `len` bytes with its newline, which says `entry`. Waits for nobody. */
struct audit_copy {
    const struct audit_entry *entry;
    uint64_t sequence;
    const unsigned char *chain;
    const char *line;
    size_t len;
};
void audit_journal_send(struct audit_journal *journal, const struct audit_copy *copy);

/* How many lines could not be sent so far; *ret_errno is why the last of them was not. thread: safe
 */
uint64_t audit_journal_lost(const struct audit_journal *journal, int *ret_errno);

#endif
