/*
 * Sealing: the bytes of the known-answer vectors in both directions, padding classes, and that
 * nothing opens that was not sealed for exactly this place. Random bytes can be fixed for the
 * vectors.
 */
#include "helpers.h"
#include "seal.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

void __real_randombytes_buf(void *const out, const size_t len);
void __wrap_randombytes_buf(void *const out, const size_t len);

static const unsigned char *fixed; /* NULL: random */

void __wrap_randombytes_buf(void *const out, const size_t len)
{
    if (fixed)
        memcpy(out, fixed, len);
    else
        __real_randombytes_buf(out, len);
}

static void vector_keys(struct seal_keys *keys)
{
    size_t len;
    SECBUF_AUTO struct secbuf root_key = secret_of(vector("root_key", &len), STORE_KEY_BYTES);
    *keys = (struct seal_keys){0};
    assert_ok(seal_keys_derive(keys, &root_key, vector("uuid", &len)));
}

static void test_subkeys(void **state)
{
    (void)state;
    struct seal_keys keys;
    size_t len;
    const unsigned char *expected = vector("subkeys", &len);
    vector_keys(&keys);
    assert_int_equal(keys.keys.len, len);
    assert_memory_equal(keys.keys.data, expected, len);
    seal_keys_release(&keys);
    assert_null(keys.keys.data);
}

static void test_boxes(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 13, 255, 256, 1000};
    struct seal_keys keys;
    vector_keys(&keys);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char name[32];
        unsigned char buf[2048];
        unsigned char seal[ROW_SEAL_BYTES];
        size_t plain_len;
        size_t box_len;
        size_t len;

        snprintf(name, sizeof name, "plain_%zu", lengths[i]);
        const unsigned char *plain = vector(name, &plain_len);
        snprintf(name, sizeof name, "box_%zu", lengths[i]);
        const unsigned char *box = vector(name, &box_len);
        snprintf(name, sizeof name, "seal_%zu", lengths[i]);
        const unsigned char *sealed = vector(name, &len);

        assert_int_equal(plain_len, lengths[i]);
        memcpy(buf, plain, plain_len);
        fixed = sealed;
        assert_int_equal(seal_close(&keys, TABLE_NODE, 17, buf, plain_len, seal), box_len);
        fixed = NULL;
        assert_memory_equal(buf, box, box_len);
        assert_memory_equal(seal, sealed, ROW_SEAL_BYTES);

        struct row row = {.id = 17, .seal = sealed, .box = box, .box_len = box_len};
        assert_ok(seal_open(&keys, TABLE_NODE, &row, buf, &len));
        assert_int_equal(len, plain_len);
        if (len > 0)
            assert_memory_equal(buf, plain, len);
    }
    seal_keys_release(&keys);
}

static void assert_hash(struct multiset hash, const char *name)
{
    size_t len;
    const unsigned char *expected = vector(name, &len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal((unsigned char)(hash.lane[i / 8] >> 8 * (i % 8)), expected[i]);
}

static void test_hashes(void **state)
{
    (void)state;
    static const char name[] = "paßwort";
    struct seal_keys keys;
    unsigned char lookup[ROW_LOOKUP_BYTES];
    size_t len;

    vector_keys(&keys);
    seal_lookup_hash(&keys, 16, name, strlen(name), 17, lookup);
    assert_memory_equal(lookup, vector("lookup_deleted", &len), sizeof lookup);
    seal_lookup_hash(&keys, 16, name, strlen(name), 0, lookup);
    assert_memory_equal(lookup, vector("lookup", &len), sizeof lookup);
    struct row row = {.id = 17, .generation = 5, .lookup = lookup, .seal = vector("seal_13", &len)};
    assert_hash(seal_row_hash(&keys, TABLE_NODE, &row), "row_node");
    row.id = 18;
    row.generation = 6;
    row.lookup = NULL;
    assert_hash(seal_row_hash(&keys, TABLE_VERSION, &row), "row_version");
    row = (struct row){.id = 1, .generation = 1};
    row.box = vector("slot_key_file", &row.box_len);
    assert_hash(seal_row_hash(&keys, TABLE_SLOT, &row), "row_slot");
    seal_keys_release(&keys);
}

static void test_padded_lengths(void **state)
{
    (void)state;
    size_t bytes;
    size_t classes = 0;
    const unsigned char *expected = vector("padded", &bytes);
    for (size_t i = 0; i < bytes; i += 8) {
        uint32_t pair[2]; /* little endian, as the machines are that this runs on */
        memcpy(pair, expected + i, 8);
        assert_int_equal(seal_padded_len(pair[0]), pair[1]);
    }
    for (size_t len = 0, last = 0; len <= 1200000; len++) {
        size_t padded = seal_padded_len(len);
        if (padded <= len || padded < last || padded < 256)
            fail_msg("%zu is padded to %zu", len, padded);
        if (len > 256 && (padded - len - 1) * 100 > len * 12)
            fail_msg("%zu is padded to %zu, more than 12%%", len, padded);
        if (seal_padded_len(padded - 1) != padded)
            fail_msg("%zu is not the end of its class", padded);
        classes += padded != last;
        last = padded;
    }
    assert_in_range(classes, 50, 300);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct seal_keys keys;
    uint64_t random = 3;
    vector_keys(&keys);
    for (size_t len = 0; len <= 70000; len += len < 600 ? 1 : 1 + next_random(&random) % 1500) {
        SECBUF_AUTO struct secbuf plain = secret_filled(len, (unsigned)len);
        SECBUF_AUTO struct secbuf box = SECBUF_INIT;
        unsigned char seal[ROW_SEAL_BYTES];
        size_t opened = SIZE_MAX;

        assert_ok(secbuf_alloc(&box, seal_padded_len(len)));
        memcpy(box.data, plain.data, len);
        struct row row = {.id = len + 1, .seal = seal, .box = box.data};
        row.box_len = seal_close(&keys, TABLE_VERSION, row.id, box.data, len, seal);
        assert_int_equal(row.box_len, seal_padded_len(len));
        if (len >= 16)
            assert_memory_not_equal(box.data, plain.data, 16);
        assert_ok(seal_open(&keys, TABLE_VERSION, &row, box.data, &opened));
        assert_int_equal(opened, len);
        if (len > 0)
            assert_memory_equal(box.data, plain.data, len);
    }
    seal_keys_release(&keys);
}

/* ---- What must not open ---------------------------------------------------------------------- */

struct sealed {
    struct seal_keys keys;
    unsigned char seal[ROW_SEAL_BYTES];
    unsigned char box[256];
};

static void make_sealed(struct sealed *s)
{
    vector_keys(&s->keys);
    memset(s->box, 'x', 100);
    assert_int_equal(seal_close(&s->keys, TABLE_NODE, 17, s->box, 100, s->seal), 256);
}

/* Opens, or is refused and leaves nothing behind. */
static bool opens(const struct seal_keys *keys, enum table table, uint64_t id,
                  const unsigned char *seal, const unsigned char *box, size_t box_len)
{
    unsigned char buf[256];
    size_t len = 4711;
    struct row row = {.id = id, .seal = seal, .box = box, .box_len = box_len};

    memset(buf, 0, sizeof buf);
    enum store_err err = seal_open(keys, table, &row, buf, &len);
    if (err == STORE_OK)
        return true;
    assert_error(err, STORE_ERR_INTEGRITY);
    assert_int_equal(len, 4711);
    for (size_t i = 0; i < sizeof buf; i++)
        assert_int_equal(buf[i], 0);
    return false;
}

static void test_another_place(void **state)
{
    (void)state;
    struct sealed s;
    make_sealed(&s);
    assert_true(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
    for (int table = 0; table < 256; table++)
        assert_int_equal(opens(&s.keys, (enum table)table, 17, s.seal, s.box, 256),
                         table == TABLE_NODE);
    for (unsigned bit = 0; bit < 64; bit++)
        assert_false(opens(&s.keys, TABLE_NODE, 17 ^ (uint64_t)1 << bit, s.seal, s.box, 256));
    for (size_t i = 0; i < STORE_UUID_BYTES; i++) {
        s.keys.uuid[i] ^= 1;
        assert_false(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
        s.keys.uuid[i] ^= 1;
    }
    for (size_t i = 0; i < STORE_KEY_BYTES; i++) {
        s.keys.keys.data[i] ^= 1;
        assert_false(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
        s.keys.keys.data[i] ^= 1;
    }
    assert_true(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
    seal_keys_release(&s.keys);
}

static void test_flipped_bits(void **state)
{
    (void)state;
    struct sealed s;
    make_sealed(&s);
    for (size_t bit = 0; bit < 8 * sizeof s.box; bit++) {
        s.box[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
        s.box[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof s.seal; bit++) {
        s.seal[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
        s.seal[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t len = 0; len < 256; len++)
        assert_false(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, len));
    assert_true(opens(&s.keys, TABLE_NODE, 17, s.seal, s.box, 256));
    seal_keys_release(&s.keys);
}

/* Sealed with the right key, padded the wrong way: not enough, too much, none. */
static void test_padding(void **state)
{
    (void)state;
    struct seal_keys keys;
    unsigned char ad[26] = {STORE_FORMAT};
    vector_keys(&keys);
    memcpy(ad + 1, keys.uuid, STORE_UUID_BYTES);
    ad[17] = TABLE_NODE;
    ad[18] = 17;
    for (int kind = 0; kind < 5; kind++) {
        unsigned char plain[512] = {0};
        unsigned char buf[512];
        unsigned char seal[ROW_SEAL_BYTES] = {0};
        size_t box_len = kind == 0 ? 64 : kind == 1 ? 512 : kind == 4 ? 0 : 256;
        size_t len;
        if (kind != 2 && box_len > 0) /* 2: no mark at all */
            plain[10] = 0x80;
        if (kind == 3) /* right, so that the test is known to seal as it should */
            assert_int_equal(seal_padded_len(10), box_len);
        crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
            buf, seal + 24, NULL, plain, box_len, ad, sizeof ad, NULL, seal, keys.keys.data);
        struct row row = {.id = 17, .seal = seal, .box = buf, .box_len = box_len};
        if (kind == 3)
            assert_ok(seal_open(&keys, TABLE_NODE, &row, plain, &len));
        else
            assert_error(seal_open(&keys, TABLE_NODE, &row, plain, &len), STORE_ERR_INTEGRITY);
    }
    seal_keys_release(&keys);
}

static void test_fresh_nonces(void **state)
{
    (void)state;
    struct sealed a;
    struct sealed b;
    make_sealed(&a);
    make_sealed(&b);
    assert_memory_not_equal(a.seal, b.seal, 24);
    assert_memory_not_equal(a.box, b.box, 256);
    seal_keys_release(&a.keys);
    seal_keys_release(&b.keys);
}

/* Every part of a row counts in its hash, and order does not count in the sum. */
static void test_row_hash_covers(void **state)
{
    (void)state;
    struct seal_keys keys;
    unsigned char lookup[ROW_LOOKUP_BYTES] = {1};
    unsigned char seal[ROW_SEAL_BYTES] = {2};
    struct row row = {.id = 17, .generation = 5, .lookup = lookup, .seal = seal};
    vector_keys(&keys);
    const struct multiset first = seal_row_hash(&keys, TABLE_NODE, &row);

#define counts(change, undo)                                        \
    do {                                                            \
        change;                                                     \
        struct multiset m = seal_row_hash(&keys, TABLE_NODE, &row); \
        assert_false(multiset_equal(&m, &first));                   \
        undo;                                                       \
    } while (0)
    counts(row.id++, row.id--);
    counts(row.generation++, row.generation--);
    counts(keys.keys.data[64]++, keys.keys.data[64]--);
    for (size_t i = 0; i < sizeof lookup; i++)
        counts(lookup[i]++, lookup[i]--);
    for (size_t i = 0; i < sizeof seal; i++)
        counts(seal[i]++, seal[i]--);
#undef counts
    struct multiset other = seal_row_hash(&keys, TABLE_VERSION, &row);
    assert_false(multiset_equal(&other, &first));

    struct multiset sum = {0};
    multiset_add(&sum, &first);
    multiset_add(&sum, &other);
    multiset_add(&sum, &other);
    struct multiset twice = sum;
    multiset_subtract(&sum, &other);
    assert_false(multiset_equal(&sum, &twice));
    multiset_subtract(&sum, &first);
    assert_true(multiset_equal(&sum, &other));
    seal_keys_release(&keys);
}

static void test_lookup_hash_covers(void **state)
{
    (void)state;
    struct seal_keys keys;
    unsigned char hashes[6][ROW_LOOKUP_BYTES];
    vector_keys(&keys);
    seal_lookup_hash(&keys, 16, "ab", 2, 0, hashes[0]);
    seal_lookup_hash(&keys, 17, "ab", 2, 0, hashes[1]);
    seal_lookup_hash(&keys, 16, "ac", 2, 0, hashes[2]);
    seal_lookup_hash(&keys, 16, "ab", 1, 0, hashes[3]);
    seal_lookup_hash(&keys, 16, "ab", 2, 18, hashes[4]);
    keys.keys.data[32] ^= 1;
    seal_lookup_hash(&keys, 16, "ab", 2, 0, hashes[5]);
    for (int a = 0; a < 6; a++)
        for (int b = 0; b < a; b++)
            assert_memory_not_equal(hashes[a], hashes[b], ROW_LOOKUP_BYTES);
    seal_keys_release(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_subkeys),
        plain_test(test_boxes),
        plain_test(test_hashes),
        plain_test(test_padded_lengths),
        plain_test(test_round_trips),
        plain_test(test_another_place),
        plain_test(test_flipped_bits),
        plain_test(test_padding),
        plain_test(test_fresh_nonces),
        plain_test(test_row_hash_covers),
        plain_test(test_lookup_hash_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
