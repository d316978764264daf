/*
 * The file of the record of reads, the supervisor's part: it opens it for the worker, which has no
 * right to, and again when it was moved away or removed.
 */
#ifndef FS_READS_FILE_H
#define FS_READS_FILE_H

#include "control.h"
#include "handoff.h"

struct reads_file {
    const char *store;       /* both outlive it */
    const char *name;        /* NULL: the default one of the store */
    char place[PATH_MAX];    /* where that is, whatever the working directory; "": not known */
    int fd;                  /* -1: there is no record, or not now */
    struct audit_head known; /* the end of what was rotated away; all zero where there is none */
    int64_t tried_ms;
};

/* Find out the place, where there is to be a record. */
void reads_file_find_place(struct reads_file *file);

/* Open what is at its name now, and make it where nothing is. Returns false after one line on
 * standard error. */
bool reads_file_open(struct reads_file *file);

/*
 * Where the worker says that the file is gone: look for another, which somebody has to make, every
 * second. Returns whether there is one.
 */
bool reads_file_find(struct reads_file *file, struct kept_reads *kept);

/* Give it to the worker that `socket` leads to. Returns false with errno. */
bool reads_file_send(const struct reads_file *file, int socket);

/* Where the record is and how far it goes, for whoever asks. */
void reads_file_tell(const struct reads_file *file, struct kept_reads *kept,
                     struct control_reply *ret_reply);

void reads_file_close(struct reads_file *file);

#endif
