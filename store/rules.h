/*
 * Which units and executables alone may open a secret, as the record of a node has it. Part of
 * store.h. Pure computation: what a caller is, whoever asks has to know.
 */
#ifndef STORE_RULES_H
#define STORE_RULES_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_UNIT_MAX 255        /* bytes of a unit's name, */
#define STORE_EXECUTABLE_MAX 1024 /* of the path of an executable, */
#define STORE_RULES_KIND_MAX 16   /* of each of them, a node has so many at most, */
#define STORE_RULES_BYTES 4096    /* and so many bytes with their NULs */

enum store_rule_kind { STORE_RULE_UNIT, STORE_RULE_EXECUTABLE };
#define STORE_RULE_KINDS 2

/* Those of one kind, in the order of strcmp(), none twice. */
struct store_rule_list {
    uint32_t count;
    uint32_t bytes;               /* what is used of `text` */
    char text[STORE_RULES_BYTES]; /* one behind the other, each with its NUL */
};

/*
 * A caller has to be of any of the units, and to run any of the executables; where there is none of
 * a kind, that does not matter. All zero: no rules.
 */
struct store_rules {
    struct store_rule_list kinds[STORE_RULE_KINDS]; /* by enum store_rule_kind */
};

/* Whoever wants to open something, as far as rules go. */
struct store_caller {
    const char *unit;       /* "" for none */
    const char *executable; /* "" where it isn't known, or is not what its path names */
};

/*
 * A unit of the kinds that processes run in (systemd.unit(5)), with its suffix; an absolute path,
 * UTF-8 without control characters, in which no component is empty, "." or "..".
 */
bool store_rule_valid(enum store_rule_kind kind, const char *text);

/* The next one after `text`, beginning with NULL; NULL at the end. */
const char *store_rule_next(const struct store_rule_list *list, const char *text);

/* Adding what is there already does nothing. errors: INVALID, LIMIT */
STORE_CHECKED enum store_err store_rules_add(struct store_rules *rules, enum store_rule_kind kind,
                                             const char *text);

/* errors: NOT_FOUND */
STORE_CHECKED enum store_err store_rules_remove(struct store_rules *rules,
                                                enum store_rule_kind kind, const char *text);

bool store_rules_empty(const struct store_rules *rules);
bool store_rules_equal(const struct store_rules *a, const struct store_rules *b);

/* Whether they are as they have to be. What comes from disk is asked. */
bool store_rules_valid(const struct store_rules *rules);

/* Whether `text` is in a list of that many bytes. */
bool store_rule_listed(const char *list, size_t bytes, const char *text);

#endif
