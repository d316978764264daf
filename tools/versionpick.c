/*
 * Which version of a secret a person means: by its number, by its label, or the current one.
 *
 * Prints nothing. The labels are known here and nowhere else in the tool.
 */
#include "versionpick.h"

#include <string.h>

const char *version_label(const struct store_details *details, uint64_t version)
{
    if (version == details->current)
        return "current";
    return version == details->previous ? "previous" : NULL;
}

static bool matches(const struct store_details *details, const struct store_version *version,
                    uint32_t number, const char *label)
{
    const char *own = version_label(details, version->id);

    if (number > 0)
        return version->number == number;
    return own && strcmp(own, label ? label : "current") == 0;
}

enum store_err version_pick(struct store *store, uint64_t node, uint32_t number, const char *label,
                            uint64_t *ret_version)
{
    struct store_details details;
    enum store_err err = store_details(store, node, &details);

    if (err != STORE_OK)
        return err;
    for (uint32_t i = 0; i < details.version_count; i++) {
        if (matches(&details, &details.versions[i], number, label)) {
            *ret_version = details.versions[i].id;
            return STORE_OK;
        }
    }
    return STORE_ERR_NO_VERSION;
}
