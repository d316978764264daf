/*
 * Who alone may open it, in a node's record: fields 50 and 51. FORMAT.md, "Node record".
 */
#include "fields.h"
#include "record.h"

enum rule_field { RULES_UNITS = 50, RULES_EXECUTABLES };

static unsigned char *put_list(unsigned char *at, enum rule_field field,
                               const struct store_rule_list *list)
{
    return list->count ? put_bytes(at, field, list->text, list->bytes) : at;
}

unsigned char *record_put_rules(unsigned char *at, const struct store_rules *rules)
{
    at = put_list(at, RULES_UNITS, &rules->kinds[STORE_RULE_UNIT]);
    return put_list(at, RULES_EXECUTABLES, &rules->kinds[STORE_RULE_EXECUTABLE]);
}

static void take_list(struct reader *r, enum rule_field field, struct store_rule_list *ret_list)
{
    size_t len;

    ret_list->count = 0;
    r->bad |= take_optional(r, field, ret_list->text, sizeof ret_list->text, &len) && len == 0;
    ret_list->bytes = r->bad ? 0 : (uint32_t)len;
    for (uint32_t i = 0; i < ret_list->bytes; i++)
        ret_list->count += ret_list->text[i] == '\0';
}

void record_take_rules(struct reader *r, struct store_rules *ret_rules)
{
    take_list(r, RULES_UNITS, &ret_rules->kinds[STORE_RULE_UNIT]);
    take_list(r, RULES_EXECUTABLES, &ret_rules->kinds[STORE_RULE_EXECUTABLE]);
    if (!r->bad && !store_rules_valid(ret_rules))
        r->bad = true;
}
