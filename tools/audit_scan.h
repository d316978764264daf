/*
 * Reading the files of a record: from a time on, line by line, also as they grow. Knows no key, and
 * of a line only its time and that it is one. Prints nothing.
 */
#ifndef TOOLS_AUDIT_SCAN_H
#define TOOLS_AUDIT_SCAN_H

#include "audit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The time of a line; false where it is none, but a piece of one. */
bool audit_scan_time(const char *line, size_t len, int64_t *ret_ns);

/* Called for each line, without its newline; `text` lives for the call. False ends the scan. */
typedef bool audit_scan_fn(void *arg, const char *line, size_t len);

struct audit_scan {
    int64_t since_ns; /* 0: from the beginning */
    audit_scan_fn *visit;
    audit_scan_fn *idle; /* when following: all is told for now (the line is NULL); or NULL */
    void *arg;
    uint64_t bytes; /* how many were read */
};

/*
 * Read all lines of `files` that are not before `since_ns`, in their order, which is nearly that of
 * their times: a few earlier ones come as well. Where that begins is found without reading what is
 * before it. With `follow` it goes on at the end, as tail -F does, also where the last file was
 * rotated away and begun anew.
 * errors: 0 or an errno; *ret_file is the file that it is about
 */
int audit_scan(struct audit_scan *scan, const struct audit_files *files, bool follow,
               const char **ret_file);

#endif
