/*
 * Verifying the record. FORMAT.md, "The record".
 */
#ifndef STORE_AUDIT_VERIFY_H
#define STORE_AUDIT_VERIFY_H

#include "audit.h"

/* What is wrong with the first bad line. */
enum audit_flaw {
    AUDIT_FLAW_NONE,
    AUDIT_FLAW_CHANGED, /* it is not as it was written */
    AUDIT_FLAW_MISSING, /* lines that were before it are not, or not any more */
    AUDIT_FLAW_MOVED,   /* it belongs further up */
    AUDIT_FLAW_DOUBLED, /* it stands there a second time */
    AUDIT_FLAW_CUT,     /* lines are missing behind the last one, or others stand for them */
};

#define AUDIT_TIME_TEXT 32

struct audit_report {
    uint64_t lines;              /* whole ones, up to the first bad one */
    uint64_t incomplete;         /* what killed writers and full disks left of some */
    uint64_t unchecked;          /* at the beginning, where that of the chain is not in the files */
    uint64_t late;               /* written to a file after it had been rotated away */
    char first[AUDIT_TIME_TEXT]; /* the times of the first and the last line; "" for none */
    char last[AUDIT_TIME_TEXT];

    enum audit_flaw flaw;
    size_t file;      /* of the first bad line: which file, */
    uint64_t line;    /* and which of its lines, from 1 */
    uint64_t missing; /* MISSING and CUT: how many lines; 0: not known */
};

/* The files of a record, the oldest first, and what is known of it beside the store. */
struct audit_evidence {
    const int *files;
    size_t file_count;
    const struct audit_head *ends; /* that it has had before the files were opened */
    size_t end_count;
};

/*
 * Check every line against the keys of `store`, which is loaded, those of before its rekeys, what
 * its last commit saw of the record, and the ends that it has had.
 * errors: IO, NO_MEMORY, INTEGRITY (of the store); a bad line is none
 */
STORE_CHECKED enum store_err audit_verify(struct store *store,
                                          const struct audit_evidence *evidence,
                                          struct audit_report *ret_report);

#endif
