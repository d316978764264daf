/*
 * The rules of those nodes that have some: few, so they stand beside the nodes, in the order of
 * their slots, and a node has but a bit that says so.
 */
#include "fault.h"
#include "index_state.h"

#include <stdlib.h>
#include <string.h>

/* The place of a node's rules, or where they would be. */
static uint32_t place_of(const struct index *index, uint32_t slot)
{
    uint32_t low = 0;
    uint32_t high = index->rules_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->rules[middle].node < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void index_remove_rules(struct index *index, uint32_t slot)
{
    if (!index->nodes[slot].ruled)
        return;
    uint32_t place = place_of(index, slot);
    index->nodes[slot].ruled = false;
    free(index->rules[place].text);
    index->rules_count--;
    memmove(&index->rules[place], &index->rules[place + 1],
            (index->rules_count - place) * sizeof *index->rules);
}

enum store_err index_set_rules(struct index *index, uint32_t slot, const struct store_rules *rules)
{
    struct index_rules new = {.node = slot};
    size_t bytes = 0;

    index_remove_rules(index, slot);
    if (store_rules_empty(rules))
        return STORE_OK;
    enum store_err err = index_reserve(&index->rules, &index->rules_capacity, index->rules_count,
                                       sizeof *index->rules);
    if (err)
        return err;
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++)
        bytes += new.bytes[kind] = (uint16_t)rules->kinds[kind].bytes;
    new.text = malloc(bytes);
    if (new.text == NULL)
        return fault(STORE_ERR_NO_MEMORY, "grow", "the index", NULL);
    char *at = new.text;
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++) {
        memcpy(at, rules->kinds[kind].text, new.bytes[kind]);
        at += new.bytes[kind];
    }
    uint32_t place = place_of(index, slot);
    memmove(&index->rules[place + 1], &index->rules[place],
            (index->rules_count - place) * sizeof *index->rules);
    index->rules[place] = new;
    index->rules_count++;
    index->nodes[slot].ruled = true;
    return STORE_OK;
}

void index_free_rules(struct index *index)
{
    for (uint32_t i = 0; i < index->rules_count; i++)
        free(index->rules[i].text);
    free(index->rules);
}

bool index_has_rules(const struct index *index)
{
    return index->rules_count > 0;
}

bool index_allows(const struct index *index, const struct index_node *node,
                  const struct store_caller *caller)
{
    if (!node->ruled)
        return true;
    const struct index_rules *rules =
        &index->rules[place_of(index, (uint32_t)(node - index->nodes))];
    const char *units = rules->text;
    const char *executables = units + rules->bytes[STORE_RULE_UNIT];
    return (rules->bytes[STORE_RULE_UNIT] == 0 ||
            store_rule_listed(units, rules->bytes[STORE_RULE_UNIT], caller->unit)) &&
           (rules->bytes[STORE_RULE_EXECUTABLE] == 0 ||
            store_rule_listed(executables, rules->bytes[STORE_RULE_EXECUTABLE],
                              caller->executable));
}
