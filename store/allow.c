/*
 * Rules of who alone may open what: setting them, and asking. They hold for everything below a
 * directory that has them.
 */
#include "change.h"
#include "fault.h"
#include "state.h"
#include "write.h"

#include <stdio.h>

/* What the record says of the rules that a node has from now on; a long list is cut. */
static void note_rules(struct store *store, const char *path, const struct store_rules *rules)
{
    static const char *const words[] = {
        [STORE_RULE_UNIT] = " unit ", [STORE_RULE_EXECUTABLE] = " executable "};
    char text[AUDIT_CHANGE_DETAIL] = "";
    size_t used = 0;

    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++) {
        const struct store_rule_list *list = &rules->kinds[kind];
        for (const char *rule = store_rule_next(list, NULL); rule && used < sizeof text;
             rule = store_rule_next(list, rule))
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", words[kind], rule);
    }
    audit_note(store, AUDIT_POLICY, path, 0, used ? "allowed:%s" : "no rules%s", text);
}

enum store_err store_set_rules(struct store *store, const char *path,
                               const struct store_rules *rules)
{
    struct node_record record;

    if (!store_rules_valid(rules))
        return fault(STORE_ERR_INVALID, "set", "the rules", NULL);
    enum store_err err = change_find_node(store, path, &record);
    if (err || store_rules_equal(&record.details.rules, rules))
        return err;
    record.details.rules = *rules;
    record.changed_ns = store->now_ns;
    note_rules(store, path, rules);
    return write_node(store, &record);
}

bool store_has_rules(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    bool has = store->index && index_has_rules(store->index);
    pthread_rwlock_unlock(&store->lock);
    return has;
}

/* The directory that a node is in, or was; NULL above the root. */
static const struct index_node *parent_of(const struct index *index, const struct index_node *n)
{
    return n->linked ? index_node_at(index, n->parent) : index_find_node(index, n->parent_id);
}

/* The node that an id names; NULL where there is none, or where nothing may be asked. */
static const struct index_node *find_node(const struct store *store, uint64_t id)
{
    const struct index_node *n = NULL;
    const struct index_version *v;

    return store_usable(store) || store_find_id(store, id, &n, &v) ? NULL : n;
}

bool store_is_ruled(struct store *store, uint64_t id)
{
    bool ruled = false;

    pthread_rwlock_rdlock(&store->lock);
    if (store->index && index_has_rules(store->index))
        for (const struct index_node *n = find_node(store, id); n && !ruled;
             n = parent_of(store->index, n))
            ruled = n->ruled;
    pthread_rwlock_unlock(&store->lock);
    return ruled;
}

bool store_allows(struct store *store, uint64_t id, const struct store_caller *caller)
{
    pthread_rwlock_rdlock(&store->lock);
    const struct index_node *n = find_node(store, id);
    bool allowed = n != NULL;
    for (; n && allowed; n = parent_of(store->index, n))
        allowed = index_allows(store->index, n, caller);
    pthread_rwlock_unlock(&store->lock);
    return allowed;
}
