/*
 * The command line of secretfs. Knows nothing of what the options do.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_WORKERS_DEFAULT 3
#define OPTIONS_WORKERS_MAX 16 /* KEPT_TASKS of handoff.h */

struct options {
    const char *store; /* all strings live as long as the program */
    const char *mountpoint;
    const char *anchor;   /* NULL: the environment's, or the one beside the store */
    const char *audit;    /* a file or "none"; NULL: the environment's, or that of the store */
    const char *key_file; /* of these four one is given at most */
    const char *identity;
    const char *unlock_command;
    int passphrase_fd; /* -1: none */
    const char *subdir;
    const char *user; /* NULL: the store's owner */
    uint32_t uid;     /* the user's */
    uint32_t gid;
    unsigned workers;
    bool audit_sync;     /* each line is made durable before the answer */
    bool audit_optional; /* answer what can't be recorded, too */
    bool audit_journal;  /* send the journal copies of the record's lines */
    bool allow_other;
    bool allow_swap;
    bool direct_io;
    bool debug;
    bool background; /* started by mount(8) */
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_BAD };

/* The name under which mount(8) starts us, with arguments of its own. */
#define OPTIONS_HELPER_NAME "mount.fuse.secretfs"

/* Read argv. DONE: help or version was printed, or mount(8) asked for no more. BAD: one line on
 * standard error says what is wrong.
 */
enum options_result options_parse(int argc, char **argv, struct options *ret_options);

#endif
