/*
 * Data as it is printed: times, and JSON by jansson. Knows no command.
 */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include "aclspec.h"
#include "fail.h"
#include "store.h"

#include <jansson.h>

#define OUTPUT_TIME 32

/* "2025-03-01 14:05", local time. */
void output_local_time(int64_t time_ns, char ret_text[static OUTPUT_TIME]);

/* "2025-03-01 14:05:09", local time. */
void output_local_second(int64_t time_ns, char ret_text[static OUTPUT_TIME]);

/* RFC 3339, in UTC: "2025-03-01T13:05:09Z". */
void output_rfc3339(int64_t time_ns, char ret_text[static OUTPUT_TIME]);

/* The time as a JSON string. */
json_t *output_json_time(int64_t time_ns);

/* A number from 1, as JSON; 0 is null. */
json_t *output_json_number(uint32_t number);

/* "revoked" or "expired" where the version that `attr` speaks of is not given out; else "". */
const char *output_refusal(const struct store_attr *attr);

/*
 * What every command tells of a node: path, type, owner, uid, group, gid, mode, acl, size, version,
 * previous, pending, revoked, expires, modified. NULL when out of memory, as with jansson's own
 * functions.
 */
json_t *output_json_node(const char *path, const struct store_attr *attr);

/* Print which versions of the secret that `task` names have labels. */
enum status output_labels(struct store *store, const struct task *task);

/* The entries of a policy's ACL: an array of {tag, name, id, perm, effective}. */
json_t *output_json_acl(const struct policy *policy);

/*
 * Print `value` to standard output and release it. NULL is reported as a lack of memory.
 */
enum status output_json(const struct task *task, json_t *value);

#endif
