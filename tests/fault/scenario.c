/*
 * See scenario.h.
 */
#include "scenario.h"
#include "audit.h"
#include "changes.h"
#include "media.h"
#include "rekey.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG_BYTES 9000 /* several pages */

/* Made ahead, so that whatever fails in a change fails in the store. */
static struct secbuf big = SECBUF_INIT;

static enum store_err put_big(struct store *s, const char *path)
{
    uint32_t number;
    return store_put(s, path, &big, false, &number);
}

static enum store_err put_new(struct store *s)
{
    enum store_err err = store_mkdir(s, "new");
    return err ? err : put_big(s, "new/secret");
}

static enum store_err rotate(struct store *s)
{
    return put_big(s, "db/password");
}

static enum store_err set_policy(struct store *s)
{
    const struct policy policy = policy_make(0, 7, 0640);
    struct store_rules rules = {0};
    enum store_err err = store_rules_add(&rules, STORE_RULE_EXECUTABLE, "/usr/bin/psql");

    if (!err)
        err = store_set_rules(s, "db/password", &rules);
    return err ? err : store_set_policy(s, "db/password", &policy);
}

static enum store_err purge(struct store *s)
{
    return store_purge(s, "old");
}

const struct scenario scenarios[] = {
    {"put", put_new, false, false},
    {"rotation", rotate, false, false},
    {"rotation with a log", rotate, false, true},
    {"policy", set_policy, false, false},
    {"purge", purge, true, false},
    {"purge with a log", purge, true, true},
    {"rekey", NULL, true, false},
};

/* ---- States ------------------------------------------------------------------------------------
 */

static void add(crypto_generichash_state *hash, const void *bytes, size_t len)
{
    crypto_generichash_update(hash, bytes, len);
}

static void add_version(struct store *s, uint64_t id, crypto_generichash_state *hash)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    assert_ok(store_read(s, id, &value));
    add(hash, value.data, value.len);
}

static void add_id(struct store *s, uint64_t id, crypto_generichash_state *hash)
{
    struct store_attr attr;
    char path[STORE_PATH_MAX] = "";

    if (store_stat(s, id, &attr) != STORE_OK)
        return;
    const uint64_t numbers[] = {
        id,          attr.node,       attr.parent,         attr.kind,    attr.uid,
        attr.gid,    attr.mode,       attr.deleted,        attr.version, attr.current,
        attr.number, attr.size_bytes, attr.previous_number};
    add(hash, numbers, sizeof numbers);
    if (!attr.deleted)
        assert_ok(store_path_below(s, STORE_ROOT_ID, attr.node, path));
    add(hash, path, strlen(path));
    const struct store_caller caller = {.unit = "a.service", .executable = "/usr/bin/psql"};
    const struct store_caller other = {.unit = "a.service", .executable = ""};
    const bool allowed[] = {store_allows(s, id, &caller), store_allows(s, id, &other)};
    add(hash, allowed, sizeof allowed);
    if (attr.version == id)
        add_version(s, id, hash);
}

static struct state state_of(struct store *s)
{
    struct state state;
    crypto_generichash_state hash;
    uint64_t generation = store_generation(s);
    uint64_t end = store_next_id(s);

    crypto_generichash_init(&hash, NULL, 0, sizeof state.hash);
    add(&hash, &generation, sizeof generation);
    for (uint64_t id = STORE_ROOT_ID; id < end; id++)
        add_id(s, id, &hash);
    crypto_generichash_final(&hash, state.hash, sizeof state.hash);
    return state;
}

/* ---- Trials ------------------------------------------------------------------------------------
 */

static void fill(struct store *s)
{
    struct store_rules rules = {0};

    make_directory(s, "db");
    make_directory(s, "old");
    put_text(s, "db/user", "somebody");
    put_text(s, "db/password", "first");
    put_text(s, "db/password", "second");
    put_text(s, "old/token", "to be purged");
    put_text(s, "old/token", "to be purged, too");
    assert_ok(store_begin(s));
    assert_ok(put_big(s, "old/big"));
    assert_ok(store_rules_add(&rules, STORE_RULE_UNIT, "a.service"));
    assert_ok(store_set_rules(s, "db", &rules));
    assert_ok(store_commit(s));
    remove_path(s, "old/token");
    remove_path(s, "old/big");
    remove_path(s, "old");
}

static const char *const suffixes[TRIAL_FILES] = {"", "-wal"};

/* A copy by another process, since the store may be open here. */
static void keep(struct trial *trial)
{
    char name[128];
    char copy[128];

    snprintf(copy, sizeof copy, "%s/copy", trial->fixture->folder);
    for (size_t i = 0; i < TRIAL_FILES; i++) {
        snprintf(name, sizeof name, "%s%s", trial->fixture->path, suffixes[i]);
        if (access(name, F_OK) != 0)
            continue;
        copy_behind(name, copy);
        trial->kept[i] = media_read_file(copy, &trial->kept_len[i]);
        unlink(copy);
    }
}

void trial_restore(const struct trial *trial)
{
    char name[128];

    snprintf(name, sizeof name, "%s-shm", trial->fixture->path);
    unlink(name);
    for (size_t i = 0; i < TRIAL_FILES; i++) {
        snprintf(name, sizeof name, "%s%s", trial->fixture->path, suffixes[i]);
        if (trial->kept[i])
            media_write_file(name, trial->kept[i], trial->kept_len[i]);
        else
            unlink(name);
    }
}

void trial_end(struct trial *trial)
{
    for (size_t i = 0; i < TRIAL_FILES; i++)
        free(trial->kept[i]);
    secbuf_release(&big);
}

void trial_begin(struct trial *trial, struct fixture *fixture, const struct scenario *scenario)
{
    bool acknowledged = false;

    *trial = (struct trial){.fixture = fixture, .scenario = scenario};
    big = secret_filled(BIG_BYTES, 7);
    struct store *s = open_store(fixture, STORE_READ_WRITE);
    fill(s);
    if (!scenario->with_log) {
        store_close(s);
        s = NULL;
    }
    keep(trial);
    store_close(s);
    trial_restore(trial);
    s = open_store(fixture, STORE_READ_ONLY);
    trial->before = state_of(s);
    store_close(s);
    assert_ok(trial_run(trial, &acknowledged));
    assert_true(acknowledged);
    s = open_store(fixture, STORE_READ_ONLY);
    trial->after = state_of(s);
    assert_false(trial_shows(s, &trial->before));
    store_close(s);
}

enum store_err trial_open(const struct trial *trial, struct store **ret_store)
{
    const struct fixture *f = trial->fixture;
    enum store_err err = store_open(f->path, STORE_READ_WRITE, ret_store);
    if (!err)
        err = store_unlock(*ret_store, &f->credential);
    return err ? err : store_load(*ret_store);
}

static enum store_err rekey(const struct trial *trial, struct store *s)
{
    const struct store_rekey_slot slot = {1, {.credential = trial->fixture->credential}};
    return store_rekey(s, &(struct store_rekey){.slots = &slot, .slot_count = 1});
}

static enum store_err change(const struct trial *trial, struct store *s)
{
    if (trial->scenario->change == NULL)
        return rekey(trial, s);
    enum store_err err = store_begin(s);
    if (err)
        return err;
    err = trial->scenario->change(s);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

/* Its changes are recorded, as secretctl has it. */
static enum store_err record(const struct trial *trial, struct store *s, struct audit_log **ret_log)
{
    static const struct audit_actor who = {.uid = 1000, .gid = 1000, .pid = 1};
    struct audit_head known;
    int fd;
    enum store_err err =
        audit_file_open(trial->fixture->path, NULL, AUDIT_MISSING_JOINS, &fd, &known);

    if (!err)
        err = audit_log_new(s, fd, &known, ret_log);
    if (!err)
        audit_use(s, *ret_log, &who);
    return err;
}

enum store_err trial_change(const struct trial *trial, struct store *s, bool *ret_acknowledged)
{
    struct audit_log *log = NULL;
    enum store_err err = record(trial, s, &log);

    if (!err)
        err = change(trial, s);
    *ret_acknowledged = err == STORE_OK;
    store_rollback(s);
    audit_use(s, NULL, &(struct audit_actor){0});
    audit_log_free(log);
    return !err && trial->scenario->compacts ? store_compact(s, -1) : err;
}

enum store_err trial_run(const struct trial *trial, bool *ret_acknowledged)
{
    struct store *s = NULL;

    *ret_acknowledged = false;
    enum store_err err = trial_open(trial, &s);
    if (!err)
        err = trial_change(trial, s, ret_acknowledged);
    store_close(s);
    return err;
}

/* Whether the files are as trial_restore() makes them. */
static bool is_untouched(const struct trial *trial)
{
    char name[128];
    bool same = true;

    for (size_t i = 0; i < TRIAL_FILES && same; i++) {
        snprintf(name, sizeof name, "%s%s", trial->fixture->path, suffixes[i]);
        if (access(name, F_OK) != 0) {
            same = trial->kept[i] == NULL;
            continue;
        }
        size_t len;
        unsigned char *bytes = media_read_file(name, &len);
        same =
            trial->kept[i] && len == trial->kept_len[i] && memcmp(bytes, trial->kept[i], len) == 0;
        free(bytes);
    }
    return same;
}

bool trial_shows(struct store *s, const struct state *state)
{
    const struct state now = state_of(s);
    return memcmp(now.hash, state->hash, sizeof now.hash) == 0;
}

bool trial_is_after(const struct trial *trial)
{
    if (is_untouched(trial))
        return false;
    struct store *s = open_store(trial->fixture, STORE_READ_WRITE);
    assert_ok(store_check(s));
    bool is_after = trial_shows(s, &trial->after);

    if (!is_after && !trial_shows(s, &trial->before))
        fail_msg("%s: neither the old state nor the new one", trial->scenario->name);
    put_text(s, "db/user", "somebody else");
    assert_text(s, "db/user", "somebody else");
    store_close(s);
    return is_after;
}

void trial_check(const struct trial *trial, bool acknowledged)
{
    bool is_after = trial_is_after(trial);
    if (acknowledged && !is_after)
        fail_msg("%s: it was acknowledged, and is lost", trial->scenario->name);
}
