/*
 * See ruled.h. A list stands in one line; paths are escaped, units can't hold what has to be.
 */
#include "ruled.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"units", "executables"};

/* Add the directory at the first `len` bytes of `path`, if it has rules. */
static enum store_err look(struct store *store, const char *path, size_t len, struct ruled *ruled)
{
    struct store_attr attr;
    struct store_details details;
    char *above = strndup(len ? path : "/", len ? len : 1);

    if (above == NULL)
        return STORE_ERR_NO_MEMORY;
    enum store_err err = store_resolve(store, above, &attr);
    if (err == STORE_OK)
        err = store_details(store, attr.node, &details);
    if (err != STORE_OK || store_rules_empty(&details.rules) || ruled->count == STORE_DEPTH_MAX) {
        free(above);
        return err;
    }
    ruled->items[ruled->count].path = above;
    ruled->items[ruled->count++].rules = details.rules;
    return STORE_OK;
}

enum store_err ruled_find(struct store *store, const char *path, struct ruled **ret_ruled)
{
    struct ruled *ruled = calloc(1, sizeof *ruled);
    enum store_err err = STORE_OK;

    *ret_ruled = ruled;
    if (ruled == NULL)
        return STORE_ERR_NO_MEMORY;
    if (!store_has_rules(store) || strcmp(path, "/") == 0)
        return STORE_OK;
    err = look(store, path, 0, ruled);
    for (const char *at = strchr(path, '/'); at && err == STORE_OK; at = strchr(at + 1, '/'))
        err = look(store, path, (size_t)(at - path), ruled);
    return err;
}

void ruled_release(struct ruled *ruled)
{
    for (unsigned i = 0; ruled && i < ruled->count; i++)
        free(ruled->items[i].path);
    free(ruled);
}

static void print_list(const struct store_rule_list *list)
{
    for (const char *text = store_rule_next(list, NULL); text; text = store_rule_next(list, text)) {
        text_print(stdout, text);
        fputs(text + strlen(text) + 1 < list->text + list->bytes ? ", " : "", stdout);
    }
}

static void print_inherited(const char *path, const struct store_rules *rules)
{
    printf("inherited:   from ");
    text_print(stdout, path);
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++) {
        if (rules->kinds[kind].count == 0)
            continue;
        printf("; %s ", names[kind]);
        print_list(&rules->kinds[kind]);
    }
    putchar('\n');
}

void ruled_print(const struct store_rules *own, const struct ruled *above)
{
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++) {
        if (own->kinds[kind].count == 0)
            continue;
        printf("%s:%*s", names[kind], 12 - (int)strlen(names[kind]), "");
        print_list(&own->kinds[kind]);
        putchar('\n');
    }
    for (unsigned i = 0; i < above->count; i++)
        print_inherited(above->items[i].path, &above->items[i].rules);
}

static json_t *list_json(const struct store_rule_list *list)
{
    json_t *array = json_array();

    for (const char *text = store_rule_next(list, NULL); text; text = store_rule_next(list, text))
        json_array_append_new(array, json_string(text));
    return array;
}

json_t *ruled_json(const struct store_rules *rules)
{
    if (store_rules_empty(rules))
        return json_null();
    return json_pack("{s:o, s:o}", names[STORE_RULE_UNIT],
                     list_json(&rules->kinds[STORE_RULE_UNIT]), names[STORE_RULE_EXECUTABLE],
                     list_json(&rules->kinds[STORE_RULE_EXECUTABLE]));
}

json_t *ruled_json_above(const struct ruled *above)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < above->count; i++) {
        json_t *item = ruled_json(&above->items[i].rules);
        json_object_set_new(item, "path", json_string(above->items[i].path));
        json_array_append_new(array, item);
    }
    return array;
}
