/*
 * Which credential unlocks a store, and what to say when it does not.
 */
#include "credential.h"
#include "fault.h"
#include "slots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static enum store_err choose(enum store_slot_kind kind, const char *path,
                             struct credential_source *ret_source)
{
    char *copy = path ? strdup(path) : NULL;

    if (path && !copy)
        return fault(STORE_ERR_NO_MEMORY, "choose", "the key", NULL);
    *ret_source = (struct credential_source){kind, copy};
    return STORE_OK;
}

/* Where nobody has chosen: what the store has a slot for and the host has a file of. */
static enum store_err choose_default(const struct store *store, const char *key_file,
                                     struct credential_source *ret_source)
{
    bool for_key_file = store_has_slot(store, STORE_SLOT_KEYFILE);
    bool for_identity = store_has_slot(store, STORE_SLOT_RECIPIENT);

    if (for_key_file && exists(key_file))
        return choose(STORE_SLOT_KEYFILE, key_file, ret_source);
    if (for_identity && exists(CREDENTIAL_IDENTITY))
        return choose(STORE_SLOT_RECIPIENT, CREDENTIAL_IDENTITY, ret_source);
    if (store_has_slot(store, STORE_SLOT_PASSPHRASE))
        return choose(STORE_SLOT_PASSPHRASE, NULL, ret_source);
    if (for_key_file)
        return choose(STORE_SLOT_KEYFILE, key_file, ret_source);
    if (for_identity)
        return choose(STORE_SLOT_RECIPIENT, CREDENTIAL_IDENTITY, ret_source);
    return choose(STORE_SLOT_COMMAND, NULL, ret_source);
}

enum store_err credential_choose(const struct store *store, const struct credential_named *named,
                                 struct credential_source *ret_source)
{
    const char *identity = named->identity;
    char *key_file = NULL;
    bool chosen;

    if (named->passphrase_fd >= 0)
        return choose(STORE_SLOT_PASSPHRASE, NULL, ret_source);
    if (named->unlock_command)
        return choose(STORE_SLOT_COMMAND, named->unlock_command, ret_source);
    if (!identity && !named->key_file && !variable(CREDENTIAL_KEY_FILE_VARIABLE))
        identity = variable(CREDENTIAL_IDENTITY_VARIABLE);
    if (identity)
        return choose(STORE_SLOT_RECIPIENT, identity, ret_source);
    enum store_err err = credential_key_file(named->key_file, &key_file, &chosen);
    if (err)
        return err;
    err = chosen ? choose(STORE_SLOT_KEYFILE, key_file, ret_source)
                 : choose_default(store, key_file, ret_source);
    free(key_file);
    return err;
}

/* ---- For people ----------------------------------------------------------- */

const char *credential_name(enum store_slot_kind kind)
{
    switch (kind) {
    case STORE_SLOT_KEYFILE:
        return "the key file";
    case STORE_SLOT_PASSPHRASE:
        return "the passphrase";
    case STORE_SLOT_RECIPIENT:
        return "the identity";
    case STORE_SLOT_COMMAND:
        return "the unlock command";
    }
    return "the key";
}

/* "a passphrase or an identity": what the slots of other kinds than `kind` open with. */
static void list_others(const struct store *store, enum store_slot_kind kind, FILE *out)
{
    static const char *const wanted[] = {
        [STORE_SLOT_KEYFILE] = "a key file",
        [STORE_SLOT_PASSPHRASE] = "a passphrase",
        [STORE_SLOT_RECIPIENT] = "an identity",
        [STORE_SLOT_COMMAND] = "an unlock command",
    };
    const char *between = "";

    for (unsigned k = STORE_SLOT_KEYFILE; k <= STORE_SLOT_COMMAND; k++) {
        if (k == kind || !store_has_slot(store, (enum store_slot_kind)k))
            continue;
        fprintf(out, "%s%s", between, wanted[k]);
        between = " or ";
    }
}

void credential_tried(struct store *store, enum store_slot_kind kind,
                      char ret_text[static CREDENTIAL_TRIED_MAX])
{
    struct store_slot slots[STORE_SLOTS_MAX];
    size_t count;
    size_t tried = 0;
    FILE *out = fmemopen(ret_text, CREDENTIAL_TRIED_MAX, "w");

    ret_text[0] = '\0';
    if (!out)
        return;
    store_list_slots(store, slots, &count);
    for (size_t i = 0; i < count; i++)
        tried += slots[i].kind == kind;
    fprintf(out, "tried %zu of %zu slot%s", tried, count, count == 1 ? "" : "s");
    if (tried < count) {
        bool one = count - tried == 1;
        fprintf(out, ": %s %s ",
                tried == 0 ? one ? "it" : "they"
                : one      ? "the other"
                           : "the others",
                one ? "wants" : "want");
        list_others(store, kind, out);
    }
    fclose(out);
}
