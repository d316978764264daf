/*
 * Which lines of the record are asked for, and where it is: the options that the parts of
 * 'secretctl audit' share.
 */
#ifndef TOOLS_AUDIT_QUERY_H
#define TOOLS_AUDIT_QUERY_H

#include "audit.h"
#include "cli.h"

#include <jansson.h>

enum {
    AUDIT_OPTION_FILE = CLI_OPTION_FIRST,
    AUDIT_OPTION_SINCE,
    AUDIT_OPTION_UNTIL,
    AUDIT_OPTION_UID,
    AUDIT_OPTION_DENIED,
    AUDIT_OPTION_EVENT,
    AUDIT_OPTION_FOLLOW,
};

struct audit_query {
    const struct cli *cli; /* for its events */
    char *path;            /* of a secret, or a directory and all in it; NULL: any */
    int64_t since_ns;      /* 0: from the beginning */
    int64_t until_ns;      /* INT64_MAX: to the end */
    bool any_user;
    uint32_t uid;
    bool denied;
};

/* Take the options, and the path of a query for lines; NULL for none. Wrong use is reported.
 * caller: audit_query_release(), also on failure */
enum status audit_query_parse(const struct cli *cli, const char *path,
                              struct audit_query *ret_query);
void audit_query_release(struct audit_query *query);

/* Whether the line is asked for. in: entry  the line, as JSON; time_ns  its time */
bool audit_query_wants(const struct audit_query *query, const json_t *entry, int64_t time_ns);

/* Whether the line is about something that was refused, or failed. */
bool audit_query_is_denied(const json_t *entry);

/* A string of the line; "" where it is null or missing. */
const char *audit_query_text(const json_t *entry, const char *name);

/* The files that were named, in their order; else those of the record. Failures are reported. */
enum status audit_query_files(const struct cli *cli, struct audit_files *ret_files);

/* Report that reading `file` has failed. */
enum status audit_query_failed(const char *file, int error);

#endif
