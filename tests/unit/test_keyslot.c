/*
 * Key slots: the known-answer vectors, the wrong key, every changed byte, and bounds that are
 * checked before any work. Passphrases use the smallest cost.
 */
#include "helpers.h"
#include "keyslot.h"
#include "recipient.h"
#include "record.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

void __real_randombytes_buf(void *const out, const size_t len);
void __wrap_randombytes_buf(void *const out, const size_t len);

static bool fixed;

void __wrap_randombytes_buf(void *const out, const size_t len)
{
    size_t vector_len;
    const char *name = len == KEYSLOT_SALT_BYTES    ? "salt"
                       : len == KEYSLOT_NONCE_BYTES ? "nonce"
                                                    : "ephemeral";
    if (!fixed)
        __real_randombytes_buf(out, len);
    else
        memcpy(out, vector(name, &vector_len), len);
}

static const unsigned char uuid[STORE_UUID_BYTES] = "0123456789abcdef";
#define SMALL ((struct keyslot_cost){.passes = 1, .memory_kib = KEYSLOT_MEMORY_KIB_MIN})

static const enum store_slot_kind kinds[] = {STORE_SLOT_KEYFILE, STORE_SLOT_PASSPHRASE,
                                             STORE_SLOT_RECIPIENT, STORE_SLOT_COMMAND};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* A slot of each kind, what opens it, and what does not. */
struct wrapped {
    struct secbuf root_key;
    struct secbuf secret;
    struct secbuf wrong;
    struct store_credential credential;
    struct store_credential wrong_credential;
    unsigned char recipient[STORE_KEY_BYTES];
    struct store_new_slot new_slot;
    unsigned char wrong_recipient[STORE_KEY_BYTES];
    struct store_new_slot wrong_slot;
    struct keyslot slot;
};

/* How a slot is made for `credential`; `recipient` is room for its public key. */
static struct store_new_slot slot_for(const struct store_credential *credential,
                                      unsigned char recipient[STORE_KEY_BYTES])
{
    struct store_new_slot new_slot = {.credential = *credential, .command = "/usr/bin/key"};
    if (credential->kind == STORE_SLOT_RECIPIENT) {
        assert_ok(recipient_of(credential->secret, recipient));
        new_slot.recipient = recipient;
        new_slot.credential.secret = NULL;
    }
    return new_slot;
}

static void wrap(struct wrapped *w, enum store_slot_kind kind)
{
    w->root_key = secret_filled(STORE_KEY_BYTES, 1);
    w->secret = secret_filled(STORE_KEY_BYTES, 2);
    w->wrong = secret_filled(STORE_KEY_BYTES, 2);
    w->wrong.data[30] ^= 1;
    w->credential = (struct store_credential){kind, &w->secret};
    w->wrong_credential = (struct store_credential){kind, &w->wrong};
    w->new_slot = slot_for(&w->credential, w->recipient);
    w->wrong_slot = slot_for(&w->wrong_credential, w->wrong_recipient);
    assert_ok(keyslot_wrap(uuid, 1, &w->new_slot, SMALL, &w->root_key, &w->slot));
}

static void release(struct wrapped *w)
{
    secbuf_release(&w->root_key);
    secbuf_release(&w->secret);
    secbuf_release(&w->wrong);
}

static enum store_err unwrap(const struct wrapped *w, const struct keyslot *slot)
{
    struct secbuf root_key = SECBUF_INIT;
    enum store_err err = keyslot_unwrap(uuid, 1, &w->credential, slot, &root_key);
    if (err)
        assert_null(root_key.data);
    else if (root_key.len != STORE_KEY_BYTES ||
             memcmp(root_key.data, w->root_key.data, STORE_KEY_BYTES) != 0)
        fail_msg("it unwraps to another key");
    secbuf_release(&root_key);
    return err;
}

static void test_vectors(void **state)
{
    (void)state;
    static const char *const secrets[] = {"key_file", "passphrase", "identity", "key_file"};
    static const char *const slots[] = {"slot_key_file", "slot_passphrase", "slot_recipient",
                                        "slot_command"};
    size_t len;
    SECBUF_AUTO struct secbuf root_key = secret_of(vector("root_key", &len), STORE_KEY_BYTES);

    for (unsigned i = 0; i < KINDS; i++) {
        const unsigned char *bytes = vector(secrets[i], &len);
        SECBUF_AUTO struct secbuf secret = secret_of(bytes, len);
        SECBUF_AUTO struct secbuf opened = SECBUF_INIT;
        struct store_credential credential = {kinds[i], &secret};
        unsigned char recipient[STORE_KEY_BYTES];
        char command[64] = "";
        struct keyslot_cost cost = {.passes = 2, .memory_kib = 64};
        struct keyslot slot;
        unsigned char record[RECORD_SLOT_MAX];
        const unsigned char *store = vector("uuid", &len);
        struct store_new_slot new_slot = slot_for(&credential, recipient);

        bytes = vector("command", &len);
        memcpy(command, bytes, len);
        new_slot.command = command;
        fixed = true;
        assert_ok(keyslot_wrap(store, i + 1, &new_slot, cost, &root_key, &slot));
        fixed = false;
        bytes = vector(slots[i], &len);
        assert_int_equal(record_encode_slot(&slot, record), len);
        assert_memory_equal(record, bytes, len);
        assert_ok(record_decode_slot(i + 1, bytes, len, &slot));
        assert_ok(keyslot_unwrap(vector("uuid", &len), i + 1, &credential, &slot, &opened));
        assert_memory_equal(opened.data, root_key.data, STORE_KEY_BYTES);
    }
}

static void each_kind(void (*check)(struct wrapped *w))
{
    for (size_t i = 0; i < KINDS; i++) {
        struct wrapped w;
        wrap(&w, kinds[i]);
        assert_ok(unwrap(&w, &w.slot));
        check(&w);
        release(&w);
    }
}

static void check_wrong_key(struct wrapped *w)
{
    struct secbuf key = SECBUF_INIT;
    enum store_slot_kind other =
        w->slot.kind == STORE_SLOT_KEYFILE ? STORE_SLOT_COMMAND : STORE_SLOT_KEYFILE;
    struct store_credential wrong_kind = {other, &w->secret};

    assert_error(keyslot_unwrap(uuid, 1, &w->wrong_credential, &w->slot, &key), STORE_ERR_KEY);
    assert_error(keyslot_unwrap(uuid, 1, &wrong_kind, &w->slot, &key), STORE_ERR_KEY);
    assert_null(key.data);
    /* Another slot's number and another store's uuid: right key, wrong place. */
    enum store_err misplaced =
        w->slot.kind == STORE_SLOT_RECIPIENT ? STORE_ERR_KEY : STORE_ERR_INTEGRITY;
    assert_error(keyslot_unwrap(uuid, 2, &w->credential, &w->slot, &key), misplaced);
    assert_error(keyslot_unwrap((const unsigned char *)"0123456789abcdeF", 1, &w->credential,
                                &w->slot, &key),
                 misplaced);
    assert_null(key.data);
}

static void test_wrong_key(void **state)
{
    (void)state;
    each_kind(check_wrong_key);
}

static void check_bytes(const struct wrapped *w, struct keyslot *slot, unsigned char *bytes,
                        size_t len, enum store_err expected)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x20;
        assert_error(unwrap(w, slot), expected);
        bytes[i] ^= 0x20;
    }
    assert_ok(unwrap(w, slot));
}

static void check_changes(struct wrapped *w)
{
    struct keyslot slot = w->slot;
    /* Salt and commitment change which key is right; the rest is sealed. */
    check_bytes(w, &slot, slot.salt, sizeof slot.salt, STORE_ERR_KEY);
    check_bytes(w, &slot, slot.commitment, sizeof slot.commitment, STORE_ERR_KEY);
    check_bytes(w, &slot, slot.nonce, sizeof slot.nonce, STORE_ERR_INTEGRITY);
    check_bytes(w, &slot, slot.wrapped, sizeof slot.wrapped, STORE_ERR_INTEGRITY);
    check_bytes(w, &slot, slot.ephemeral, slot.kind == STORE_SLOT_RECIPIENT ? 31 : 0,
                STORE_ERR_KEY);
    check_bytes(w, &slot, slot.recipient, slot.kind == STORE_SLOT_RECIPIENT ? 32 : 0,
                STORE_ERR_KEY);
    check_bytes(w, &slot, (unsigned char *)slot.command + 1, strlen(slot.command) / 2,
                STORE_ERR_INTEGRITY);
    if (slot.kind == STORE_SLOT_PASSPHRASE) {
        slot.cost.passes++;
        assert_error(unwrap(w, &slot), STORE_ERR_KEY);
        slot.cost.passes--;
        slot.cost.memory_kib++;
        assert_error(unwrap(w, &slot), STORE_ERR_KEY);
    }
}

static void test_changed_bytes(void **state)
{
    (void)state;
    each_kind(check_changes);
}

/* A slot that another key could open is refused even when that key's commitment is put in. */
static void check_commitment(struct wrapped *w)
{
    struct keyslot other;
    struct keyslot mixed = w->slot;
    assert_ok(keyslot_wrap(uuid, 1, &w->wrong_slot, SMALL, &w->root_key, &other));
    memcpy(mixed.commitment, other.commitment, sizeof mixed.commitment);
    assert_error(unwrap(w, &mixed), STORE_ERR_KEY);
    mixed = w->slot;
    memcpy(mixed.wrapped, other.wrapped, sizeof mixed.wrapped);
    memcpy(mixed.nonce, other.nonce, sizeof mixed.nonce);
    assert_error(unwrap(w, &mixed), STORE_ERR_INTEGRITY);
}

static void test_commitment(void **state)
{
    (void)state;
    each_kind(check_commitment);
}

/*
 * A wrapped key that XChaCha20-Poly1305 itself opens under two keys, as whoever has both can make
 * one: the commitment lets it open under one of them.
 */
static void test_a_slot_for_two_keys(void **state)
{
    (void)state;
    static const char *const secrets[] = {"key_file", "other_key_file"};
    static const char *const slots[] = {"slot_two_keys", "slot_two_keys_other"};
    size_t len;

    for (int i = 0; i < 4; i++) {
        struct keyslot slot;
        SECBUF_AUTO struct secbuf opened = SECBUF_INIT;
        const unsigned char *bytes = vector(slots[i / 2], &len);
        assert_ok(record_decode_slot(5, bytes, len, &slot));
        bytes = vector(secrets[i % 2], &len);
        SECBUF_AUTO struct secbuf secret = secret_of(bytes, len);
        struct store_credential credential = {STORE_SLOT_KEYFILE, &secret};
        assert_error(keyslot_unwrap(vector("uuid", &len), 5, &credential, &slot, &opened),
                     i / 2 == i % 2 ? STORE_OK : STORE_ERR_KEY);
    }
}

static void test_public_keys(void **state)
{
    (void)state;
    /* Of low order: RFC 7748 gives zero for them, whoever the other is. */
    static const unsigned char low[][STORE_KEY_BYTES] = {{0}, {1}};
    static const unsigned char p[] = {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    unsigned char key[STORE_KEY_BYTES];
    struct store_new_slot new_slot = {.credential.kind = STORE_SLOT_RECIPIENT, .recipient = key};
    struct wrapped w;
    struct keyslot slot;

    wrap(&w, STORE_SLOT_RECIPIENT);
    for (size_t i = 0; i < 2; i++) {
        memcpy(key, low[i], sizeof key);
        assert_error(keyslot_wrap(uuid, 1, &new_slot, SMALL, &w.root_key, &slot),
                     STORE_ERR_INVALID);
        slot = w.slot;
        memcpy(slot.ephemeral, low[i], sizeof key);
        assert_error(unwrap(&w, &slot), STORE_ERR_INTEGRITY);
    }
    /* Another form of the same key, which no identity gives and so none would open. */
    memcpy(key, w.recipient, sizeof key);
    key[31] |= 0x80;
    assert_error(keyslot_wrap(uuid, 1, &new_slot, SMALL, &w.root_key, &slot), STORE_ERR_INVALID);
    memcpy(key, p, sizeof key);
    assert_false(recipient_valid(key));
    key[0]++;
    assert_false(recipient_valid(key));
    key[0] = 0xec;
    assert_true(recipient_valid(key));
    key[0] = 0xed;
    key[15] = 0xfe;
    assert_true(recipient_valid(key));
    release(&w);
}

static void test_commands(void **state)
{
    (void)state;
    char longest[STORE_COMMAND_MAX + 2] = "/";
    static const char *const bad[] = {"", "key", "./key", "/a\nb", "/\xff"};
    SECBUF_AUTO struct secbuf root_key = secret_filled(STORE_KEY_BYTES, 1);
    SECBUF_AUTO struct secbuf secret = secret_filled(STORE_KEY_BYTES, 2);
    struct store_new_slot new_slot = {.credential = {STORE_SLOT_COMMAND, &secret}};
    struct keyslot slot;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        new_slot.command = bad[i];
        assert_error(keyslot_wrap(uuid, 1, &new_slot, SMALL, &root_key, &slot), STORE_ERR_INVALID);
    }
    new_slot.command = longest;
    memset(longest + 1, 'a', STORE_COMMAND_MAX - 1);
    assert_ok(keyslot_wrap(uuid, 1, &new_slot, SMALL, &root_key, &slot));
    unsigned char record[RECORD_SLOT_MAX];
    size_t len = record_encode_slot(&slot, record);
    struct keyslot back;
    assert_ok(record_decode_slot(1, record, len, &back));
    assert_string_equal(back.command, longest);
    longest[STORE_COMMAND_MAX] = 'a';
    assert_error(keyslot_wrap(uuid, 1, &new_slot, SMALL, &root_key, &slot), STORE_ERR_LIMIT);
}

static void check_fresh(struct wrapped *w)
{
    struct keyslot again;
    assert_ok(keyslot_wrap(uuid, 1, &w->new_slot, SMALL, &w->root_key, &again));
    assert_memory_not_equal(again.salt, w->slot.salt, sizeof again.salt);
    assert_memory_not_equal(again.nonce, w->slot.nonce, sizeof again.nonce);
    assert_memory_not_equal(again.commitment, w->slot.commitment, sizeof again.commitment);
    assert_memory_not_equal(again.wrapped, w->slot.wrapped, sizeof again.wrapped);
}

static void test_fresh_salt_and_nonce(void **state)
{
    (void)state;
    each_kind(check_fresh);
}

/* Processor time: what a busy machine takes besides is no work of ours. */
static int64_t worked_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void test_bounds_before_work(void **state)
{
    (void)state;
    static const struct keyslot_cost costs[] = {
        {1, UINT32_MAX}, /* 4 TiB */
        {1, KEYSLOT_MEMORY_KIB_MAX + 1},
        {1, KEYSLOT_MEMORY_KIB_MIN - 1},
        {0, KEYSLOT_MEMORY_KIB_MIN},
        {KEYSLOT_PASSES_MAX + 1, KEYSLOT_MEMORY_KIB_MIN},
        {UINT32_MAX, KEYSLOT_MEMORY_KIB_MAX},
        {0, 0},
    };
    struct wrapped w;
    wrap(&w, STORE_SLOT_PASSPHRASE);
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        struct keyslot slot = w.slot;
        struct keyslot made;
        int64_t start = worked_ms();
        slot.cost = costs[i];
        assert_false(keyslot_valid(&slot));
        assert_error(unwrap(&w, &slot), STORE_ERR_INTEGRITY);
        assert_error(keyslot_wrap(uuid, 1, &w.new_slot, costs[i], &w.root_key, &made),
                     STORE_ERR_INVALID);
        assert_true(worked_ms() - start < 50);
    }
    release(&w);
}

static void test_valid(void **state)
{
    (void)state;
    struct keyslot slot = {.kind = STORE_SLOT_KEYFILE};
    assert_true(keyslot_valid(&slot));
    slot.cost.passes = 1;
    assert_false(keyslot_valid(&slot));
    slot.cost = (struct keyslot_cost){0, 8};
    assert_false(keyslot_valid(&slot));
    slot.kind = STORE_SLOT_PASSPHRASE;
    slot.cost = KEYSLOT_DEFAULT_COST;
    assert_true(keyslot_valid(&slot));
    slot.cost = (struct keyslot_cost){KEYSLOT_PASSES_MAX, KEYSLOT_MEMORY_KIB_MAX};
    assert_true(keyslot_valid(&slot));
    slot.kind = (enum store_slot_kind)5;
    assert_false(keyslot_valid(&slot));
    slot.kind = (enum store_slot_kind)0;
    assert_false(keyslot_valid(&slot));
}

static void test_credential_lengths(void **state)
{
    (void)state;
    static const struct {
        enum store_slot_kind kind;
        size_t len;
        enum store_err expected;
    } cases[] = {
        {STORE_SLOT_KEYFILE, 0, STORE_ERR_INVALID},
        {STORE_SLOT_KEYFILE, STORE_KEY_BYTES - 1, STORE_ERR_INVALID},
        {STORE_SLOT_KEYFILE, STORE_KEY_BYTES + 1, STORE_ERR_INVALID},
        {STORE_SLOT_COMMAND, STORE_KEY_BYTES - 1, STORE_ERR_INVALID},
        {STORE_SLOT_COMMAND, STORE_KEY_BYTES + 1, STORE_ERR_INVALID},
        {STORE_SLOT_PASSPHRASE, 0, STORE_ERR_INVALID},
        {STORE_SLOT_PASSPHRASE, 1, STORE_OK},
        {STORE_SLOT_PASSPHRASE, STORE_PASSPHRASE_MAX, STORE_OK},
        {STORE_SLOT_PASSPHRASE, STORE_PASSPHRASE_MAX + 1, STORE_ERR_INVALID},
    };
    SECBUF_AUTO struct secbuf root_key = secret_filled(STORE_KEY_BYTES, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SECBUF_AUTO struct secbuf secret = secret_filled(cases[i].len, 5);
        const struct store_new_slot new_slot = {.credential = {cases[i].kind, &secret},
                                                .command = "/usr/bin/key"};
        struct keyslot slot;
        assert_error(keyslot_wrap(uuid, 1, &new_slot, SMALL, &root_key, &slot), cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_vectors),
        plain_test(test_wrong_key),
        plain_test(test_changed_bytes),
        plain_test(test_commitment),
        plain_test(test_a_slot_for_two_keys),
        plain_test(test_public_keys),
        plain_test(test_commands),
        plain_test(test_fresh_salt_and_nonce),
        plain_test(test_bounds_before_work),
        plain_test(test_valid),
        plain_test(test_credential_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
