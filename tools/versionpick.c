/*
 * Names of labels, and finding versions by them. See versionpick.h.
 */
#include "versionpick.h"

#include <string.h>

static const char *const names[] = {[STORE_LABEL_CURRENT] = "current",
                                    [STORE_LABEL_PREVIOUS] = "previous",
                                    [STORE_LABEL_PENDING] = "pending"};
#define LABELS (sizeof(names) / sizeof(names[0]))

bool version_label_parse(const char *name, enum store_label *ret_label)
{
    for (unsigned i = 0; i < LABELS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_label = (enum store_label)i;
            return true;
        }
    }
    return false;
}

const char *version_label_name(enum store_label label)
{
    return names[label];
}

/* The version with a label, 0 for none. */
static uint64_t labeled(const struct store_details *details, enum store_label label)
{
    switch (label) {
    case STORE_LABEL_CURRENT:
        return details->current;
    case STORE_LABEL_PREVIOUS:
        return details->previous;
    case STORE_LABEL_PENDING:
        return details->pending;
    }
    return 0;
}

const char *version_next_label(const struct store_details *details, uint64_t version, unsigned *at)
{
    while (*at < LABELS) {
        unsigned label = (*at)++;
        if (labeled(details, (enum store_label)label) == version)
            return names[label];
    }
    return NULL;
}

enum store_err version_pick(struct store *store, uint64_t node, uint32_t number,
                            enum store_label label, uint64_t *ret_version)
{
    struct store_details details;
    const struct store_version *version;
    enum store_err err = store_details(store, node, &details);

    if (err != STORE_OK)
        return err;
    version = number > 0 ? store_version_numbered(&details, number)
                         : store_version_of(&details, labeled(&details, label));
    if (!version)
        return STORE_ERR_NO_VERSION;
    *ret_version = version->id;
    return STORE_OK;
}
