/*
 * Lists of units and executables: sorted texts, one behind the other. See rules.h.
 */
#include "rules.h"
#include "fault.h"
#include "identity.h"
#include "record.h"

#include <string.h>

/* The characters of units' names, see systemd.unit(5). */
#define UNIT_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"

static bool unit_valid(const char *name)
{
    size_t len = strnlen(name, STORE_UNIT_MAX + 1);
    return len <= STORE_UNIT_MAX && strspn(name, UNIT_CHARACTERS) == len &&
           identity_is_unit(name, len);
}

static bool component_valid(const char *name, size_t len)
{
    return len > 0 && !(len == 1 && name[0] == '.') &&
           !(len == 2 && name[0] == '.' && name[1] == '.');
}

static bool executable_valid(const char *path)
{
    size_t len = strnlen(path, STORE_EXECUTABLE_MAX + 1);

    if (path[0] != '/' || len > STORE_EXECUTABLE_MAX || !record_text_valid(path, len))
        return false;
    while (*path == '/') {
        path++;
        size_t name_len = strcspn(path, "/");
        if (!component_valid(path, name_len))
            return false;
        path += name_len;
    }
    return true;
}

bool store_rule_valid(enum store_rule_kind kind, const char *text)
{
    switch (kind) {
    case STORE_RULE_UNIT:
        return unit_valid(text);
    case STORE_RULE_EXECUTABLE:
        return executable_valid(text);
    }
    return false;
}

const char *store_rule_next(const struct store_rule_list *list, const char *text)
{
    const char *next = text ? text + strlen(text) + 1 : list->text;
    return next < list->text + list->bytes ? next : NULL;
}

/* Where `text` is, or would be. */
static char *place_of(struct store_rule_list *list, const char *text, bool *ret_found)
{
    const char *at = store_rule_next(list, NULL);

    while (at && strcmp(at, text) < 0)
        at = store_rule_next(list, at);
    *ret_found = at && strcmp(at, text) == 0;
    return list->text + (at ? (size_t)(at - list->text) : list->bytes);
}

enum store_err store_rules_add(struct store_rules *rules, enum store_rule_kind kind,
                               const char *text)
{
    struct store_rule_list *list = &rules->kinds[kind];
    bool found;

    if (!store_rule_valid(kind, text))
        return fault(STORE_ERR_INVALID, "set", "a rule",
                     kind == STORE_RULE_UNIT ? "it is no name of a unit"
                                             : "it is no absolute path of an executable");
    size_t bytes = strlen(text) + 1;
    char *place = place_of(list, text, &found);
    if (found)
        return STORE_OK;
    if (list->count == STORE_RULES_KIND_MAX || list->bytes + bytes > STORE_RULES_BYTES)
        return fault(STORE_ERR_LIMIT, "set", "a rule",
                     "there are at most 16 of a kind, with 4096 bytes in all");
    memmove(place + bytes, place, (size_t)(list->text + list->bytes - place));
    memcpy(place, text, bytes);
    list->bytes += (uint32_t)bytes;
    list->count++;
    return STORE_OK;
}

enum store_err store_rules_remove(struct store_rules *rules, enum store_rule_kind kind,
                                  const char *text)
{
    struct store_rule_list *list = &rules->kinds[kind];
    size_t bytes = strlen(text) + 1;
    bool found;
    char *place = place_of(list, text, &found);

    if (!found)
        return fault(STORE_ERR_NOT_FOUND, "remove", "a rule", "there is no such rule");
    memmove(place, place + bytes, (size_t)(list->text + list->bytes - place) - bytes);
    list->bytes -= (uint32_t)bytes;
    list->count--;
    return STORE_OK;
}

bool store_rules_empty(const struct store_rules *rules)
{
    return rules->kinds[STORE_RULE_UNIT].count == 0 &&
           rules->kinds[STORE_RULE_EXECUTABLE].count == 0;
}

bool store_rules_equal(const struct store_rules *a, const struct store_rules *b)
{
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++)
        if (a->kinds[kind].bytes != b->kinds[kind].bytes ||
            memcmp(a->kinds[kind].text, b->kinds[kind].text, a->kinds[kind].bytes) != 0)
            return false;
    return true;
}

bool store_rules_valid(const struct store_rules *rules)
{
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++) {
        const struct store_rule_list *list = &rules->kinds[kind];
        const char *before = NULL;
        uint32_t count = 0;

        if (list->bytes > STORE_RULES_BYTES || (list->bytes && list->text[list->bytes - 1] != '\0'))
            return false;
        for (const char *text = store_rule_next(list, NULL); text;
             text = store_rule_next(list, text)) {
            if (!store_rule_valid((enum store_rule_kind)kind, text) ||
                (before && strcmp(before, text) >= 0))
                return false;
            before = text;
            count++;
        }
        if (count != list->count || count > STORE_RULES_KIND_MAX)
            return false;
    }
    return true;
}

bool store_rule_listed(const char *list, size_t bytes, const char *text)
{
    for (const char *at = list; at < list + bytes; at += strlen(at) + 1)
        if (strcmp(at, text) == 0)
            return true;
    return false;
}
