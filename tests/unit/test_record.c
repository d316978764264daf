/*
 * Records: the bytes of the known-answer vectors, round trips, and what hostile bytes may do: a
 * record that was cut, or has one byte changed, is refused or is the one encoding of what it says.
 */
#include "helpers.h"
#include "record.h"

#include <stdlib.h>
#include <string.h>

static struct root_record a_root(void)
{
    return (struct root_record){
        .generation = 7,
        .next_id = 21,
        .rows = {[TABLE_SLOT] = 1, [TABLE_NODE] = 2, [TABLE_VERSION] = 3},
        .hash = {{0x0123456789abcdef, 0xfedcba9876543210}},
    };
}

static struct node_record a_directory(uint64_t id)
{
    struct node_record n = {.id = id,
                            .kind = STORE_DIRECTORY,
                            .parent = 16,
                            .name = "db",
                            .name_len = 2,
                            .created_ns = 1,
                            .changed_ns = 2,
                            .linked_ns = 3,
                            .mtime_ns = 4,
                            .deleted_ns = 9,
                            .policy = policy_make(1000, 1001, 0750)};
    return n;
}

static struct node_record a_secret(void)
{
    struct node_record n = {.id = 17,
                            .kind = STORE_SECRET,
                            .parent = 16,
                            .created_ns = 100,
                            .changed_ns = 300,
                            .linked_ns = 301,
                            .policy = policy_make(70, 71, 0650),
                            .details = {.current = 20,
                                        .previous = 18,
                                        .next_number = 4,
                                        .version_count = 2,
                                        .versions = {{18, 1, 5, 100}, {20, 3, 1048576, 300}}}};
    strcpy(n.name, "paßwort");
    n.name_len = strlen(n.name);
    strcpy(n.details.description, "the database's password");
    assert_ok(policy_set_entry(&n.policy, POLICY_USER, 1000, 4));
    assert_ok(policy_set_entry(&n.policy, POLICY_GROUP, 33, 7));
    assert_ok(policy_set_mode(&n.policy, 0640));
    return n;
}

static struct node_record a_rotated_secret(void)
{
    struct node_record n = {
        .id = 17,
        .kind = STORE_SECRET,
        .parent = 16,
        .name = "token",
        .name_len = 5,
        .created_ns = 100,
        .changed_ns = 300,
        .linked_ns = 301,
        .policy = policy_make(70, 71, 0400),
        .details = {.current = 18,
                    .next_number = 2,
                    .version_count = 1,
                    .versions = {{18, 1, 5, 100, 0}},
                    .rotation = {.every_s = 30ULL * 86400, .generator = "password:24"}}};
    return n;
}

static struct node_record a_ruled_secret(void)
{
    struct node_record n = a_rotated_secret();

    memcpy(n.name, "tls\0\0", 6);
    n.name_len = 3;
    n.details.rotation = (struct store_rotation){.every_s = 86400};
    assert_ok(store_rules_add(&n.details.rules, STORE_RULE_UNIT, "nginx.service"));
    assert_ok(store_rules_add(&n.details.rules, STORE_RULE_UNIT, "a@b.service"));
    assert_ok(store_rules_add(&n.details.rules, STORE_RULE_EXECUTABLE, "/usr/sbin/nginx"));
    return n;
}

static struct node_record a_ruled_directory(void)
{
    struct node_record n = a_directory(17);

    assert_ok(store_rules_add(&n.details.rules, STORE_RULE_EXECUTABLE, "/bin/b"));
    assert_ok(store_rules_add(&n.details.rules, STORE_RULE_EXECUTABLE, "/bin/a"));
    return n;
}

/* As many rules as there can be, of 4096 bytes each. */
static void add_all_rules(struct store_rules *rules)
{
    char text[256 + 1] = "/";

    for (unsigned i = 0; i < STORE_RULES_KIND_MAX; i++) {
        memset(text + 1, (int)('a' + i), 254);
        text[255] = '\0';
        assert_ok(store_rules_add(rules, STORE_RULE_EXECUTABLE, text));
        memset(text + 1, (int)('a' + i), 247);
        memcpy(text + 248, ".service", 9);
        assert_int_equal(strlen(text + 1), STORE_UNIT_MAX);
        assert_ok(store_rules_add(rules, STORE_RULE_UNIT, text + 1));
    }
    assert_int_equal(rules->kinds[STORE_RULE_UNIT].bytes, STORE_RULES_BYTES);
    assert_int_equal(rules->kinds[STORE_RULE_EXECUTABLE].bytes, STORE_RULES_BYTES);
}

static void set_name(struct node_record *n, const char *name)
{
    memset(n->name, 0, sizeof n->name);
    strcpy(n->name, name);
    n->name_len = strlen(name);
}

static struct node_record a_pending_secret(void)
{
    struct node_record n = a_rotated_secret();
    set_name(&n, "key");
    n.details.pending = 20;
    n.details.next_number = 4;
    n.details.version_count = 2;
    n.details.versions[1] = (struct store_version){20, 3, STORE_VALUE_MAX, 300, 0};
    n.details.rotation = (struct store_rotation){.every_s = 86400};
    return n;
}

static struct node_record a_secret_in_rotation(void)
{
    struct node_record n = a_pending_secret();
    set_name(&n, "role");
    n.details.rotation = (struct store_rotation){.every_s = 86400,
                                                 .generator = "hex:32",
                                                 .rotator = "postgresql",
                                                 .timeout_s = 90,
                                                 .step = STORE_STEP_SET,
                                                 .old_number = 1,
                                                 .new_number = 3};
    return n;
}

static struct node_record a_revoked_secret(void)
{
    struct node_record n = a_secret();
    set_name(&n, "old");
    n.policy = policy_make(0, 0, 0400);
    memset(n.details.description, 0, sizeof n.details.description);
    n.details.versions[0].revoked_ns = 400;
    n.details.versions[1].revoked_ns = 401;
    n.details.expires_ns = 500;
    return n;
}

static struct node_record a_removed_directory(void)
{
    struct node_record n = a_directory(17);
    set_name(&n, "gone");
    n.changed_ns = 9;
    n.purge_ns = 9;
    n.policy = policy_make(0, 0, 0755);
    return n;
}

static struct node_record a_removed_secret(void)
{
    struct node_record n = a_rotated_secret();
    memset(&n.details.rotation, 0, sizeof n.details.rotation);
    n.changed_ns = n.deleted_ns = 400;
    n.purge_ns = 400 + 7 * 86400 * INT64_C(1000000000);
    return n;
}

/* The largest node that there can be. */
static struct node_record a_full_secret(void)
{
    struct node_record n = a_secret();
    memset(n.name, 'n', STORE_NAME_MAX);
    n.name_len = STORE_NAME_MAX;
    n.deleted_ns = 5;
    memset(n.details.description, 'd', STORE_DESCRIPTION_MAX);
    for (uint32_t i = 2; i < POLICY_ACL_MAX; i++)
        assert_ok(policy_set_entry(&n.policy, POLICY_GROUP, 100 + i, 4));
    for (uint32_t i = 0; i < STORE_VERSIONS_KEPT; i++)
        n.details.versions[i] = (struct store_version){100 + i, 1 + i, i, i, 1 + i};
    n.details.version_count = STORE_VERSIONS_KEPT;
    n.details.current = 100;
    n.details.previous = 101;
    n.details.pending = 102;
    n.details.next_number = STORE_VERSIONS_KEPT + 1;
    n.details.expires_ns = INT64_MAX;
    return n;
}

static void assert_vector(const char *name, const unsigned char *bytes, size_t len)
{
    size_t expected_len;
    const unsigned char *expected = vector(name, &expected_len);
    assert_int_equal(len, expected_len);
    assert_memory_equal(bytes, expected, len);
}

/* ---- Known answers and round trips ------------------------------------------------------------
 */

/* What it says of the record of what was read. */
static void check_root_audit(struct root_record root)
{
    unsigned char bytes[RECORD_ROOT_MAX];
    struct root_record back;

    root.former_count = 1;
    root.former[0].head.number = 40;
    root.checkpoint =
        (struct audit_checkpoint){.head = {.number = 42}, .time_ns = 1700000000LL * 1000000000};
    for (unsigned i = 0; i < AUDIT_HASH_BYTES; i++) {
        root.former[0].head.hash[i] = (unsigned char)(0x10 + i);
        root.checkpoint.head.hash[i] = (unsigned char)(0x20 + i);
    }
    for (unsigned i = 0; i < AUDIT_FORMER_BOX; i++)
        root.former[0].box[i] = (unsigned char)(0xb0 + i);
    size_t len = record_encode_root(&root, bytes);
    assert_vector("record_root_audit", bytes, len);
    assert_ok(record_decode_root(bytes, len, &back));
    assert_memory_equal(&back, &root, sizeof root);
    root.former_count = 2; /* the second ends before the first */
    len = record_encode_root(&root, bytes);
    assert_error(record_decode_root(bytes, len, &back), STORE_ERR_INTEGRITY);
    root.former_count = AUDIT_FORMER_MAX;
    for (uint32_t i = 0; i < AUDIT_FORMER_MAX; i++)
        root.former[i].head.number = 40 + i;
    len = record_encode_root(&root, bytes);
    assert_true(seal_padded_len(len) <= RECORD_ROOT_MAX);
    assert_ok(record_decode_root(bytes, len, &back));
    assert_memory_equal(&back, &root, sizeof root);
}

static void test_root(void **state)
{
    (void)state;
    struct root_record root = a_root();
    struct root_record back;
    unsigned char bytes[RECORD_ROOT_MAX];
    size_t len = record_encode_root(&root, bytes);

    assert_vector("record_root", bytes, len);
    assert_ok(record_decode_root(bytes, len, &back));
    assert_memory_equal(&back, &root, sizeof root);
    root.accepted = (struct anchor_acceptance){6, 3, 5, 1700000000LL * 1000000000};
    len = record_encode_root(&root, bytes);
    assert_vector("record_root_accepted", bytes, len);
    assert_ok(record_decode_root(bytes, len, &back));
    assert_memory_equal(&back, &root, sizeof root);
    static const struct anchor_acceptance wrong[] = {
        {8, 3, 5, 1}, {6, 6, 5, 1}, {6, 3, 6, 1}}; /* beyond its own generation */
    for (size_t i = 0; i < 3; i++) {
        root.accepted = wrong[i];
        len = record_encode_root(&root, bytes);
        assert_error(record_decode_root(bytes, len, &back), STORE_ERR_INTEGRITY);
    }
    root.accepted = (struct anchor_acceptance){0};
    check_root_audit(root);
    root.next_id = STORE_ROOT_ID;
    len = record_encode_root(&root, bytes);
    assert_error(record_decode_root(bytes, len, &back), STORE_ERR_INTEGRITY);
    root.next_id = (uint64_t)INT64_MAX + 1;
    len = record_encode_root(&root, bytes);
    assert_error(record_decode_root(bytes, len, &back), STORE_ERR_INTEGRITY);
}

static void assert_same_node(const struct node_record *a, const struct node_record *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->parent, b->parent);
    assert_int_equal(a->name_len, b->name_len);
    assert_memory_equal(a->name, b->name, sizeof a->name);
    assert_int_equal(a->changed_ns, b->changed_ns);
    assert_int_equal(a->deleted_ns, b->deleted_ns);
    assert_int_equal(a->purge_ns, b->purge_ns);
    assert_int_equal(a->linked_ns, b->linked_ns);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_true(policy_equal(&a->policy, &b->policy));
    assert_int_equal(b->details.created_ns, a->created_ns);
    assert_string_equal(a->details.description, b->details.description);
    assert_int_equal(a->details.current, b->details.current);
    assert_int_equal(a->details.previous, b->details.previous);
    assert_int_equal(a->details.pending, b->details.pending);
    assert_int_equal(a->details.next_number, b->details.next_number);
    assert_int_equal(a->details.version_count, b->details.version_count);
    assert_int_equal(a->details.rotation.every_s, b->details.rotation.every_s);
    assert_string_equal(a->details.rotation.generator, b->details.rotation.generator);
    assert_string_equal(a->details.rotation.rotator, b->details.rotation.rotator);
    assert_int_equal(a->details.rotation.timeout_s, b->details.rotation.timeout_s);
    assert_int_equal(a->details.rotation.step, b->details.rotation.step);
    assert_int_equal(a->details.rotation.old_number, b->details.rotation.old_number);
    assert_int_equal(a->details.rotation.new_number, b->details.rotation.new_number);
    assert_true(store_rules_equal(&a->details.rules, &b->details.rules));
    for (unsigned kind = 0; kind < STORE_RULE_KINDS; kind++)
        assert_int_equal(a->details.rules.kinds[kind].count, b->details.rules.kinds[kind].count);
    assert_int_equal(a->details.expires_ns, b->details.expires_ns);
    assert_memory_equal(a->details.versions, b->details.versions, sizeof a->details.versions);
}

static void round_trip(const struct node_record *node, const char *name)
{
    struct node_record back;
    unsigned char bytes[RECORD_NODE_MAX];
    size_t len = record_encode_node(node, bytes);

    assert_in_range(seal_padded_len(len), 1, RECORD_NODE_MAX);
    if (name)
        assert_vector(name, bytes, len);
    assert_ok(record_decode_node(node->id, bytes, len, &back));
    assert_same_node(node, &back);
}

static void test_node(void **state)
{
    (void)state;
    struct node_record root = {.id = STORE_ROOT_ID,
                               .kind = STORE_DIRECTORY,
                               .created_ns = 1,
                               .changed_ns = 2,
                               .linked_ns = 3,
                               .mtime_ns = 4,
                               .policy = policy_make(0, 0, 0755)};
    struct node_record directory = a_directory(17);
    struct node_record secret = a_secret();
    struct node_record rotated = a_rotated_secret();
    struct node_record begun = a_secret_in_rotation();
    struct node_record revoked = a_revoked_secret();
    struct node_record pending = a_pending_secret();
    struct node_record removed_directory = a_removed_directory();
    struct node_record removed = a_removed_secret();
    struct node_record full = a_full_secret();
    struct node_record ruled = a_ruled_secret();
    struct node_record ruled_directory = a_ruled_directory();

    round_trip(&root, "record_root_directory");
    round_trip(&directory, "record_directory");
    round_trip(&secret, "record_secret");
    round_trip(&rotated, "record_rotated_secret");
    round_trip(&begun, "record_secret_in_rotation");
    begun.details.rotation.timeout_s = 0;
    begun.details.rotation.step = STORE_STEP_CREATE;
    begun.details.rotation.new_number = 0;
    round_trip(&begun, NULL);
    full.details.rotation.every_s = STORE_ROTATION_MAX_S;
    memset(full.details.rotation.generator, 'g', STORE_GENERATOR_MAX);
    memset(full.details.rotation.rotator, 'r', STORE_ROTATOR_MAX);
    full.details.rotation.timeout_s = STORE_STEP_TIMEOUT_MAX_S;
    full.details.rotation.step = STORE_STEP_FINISH;
    full.details.rotation.old_number = 1;
    full.details.rotation.new_number = 2;
    round_trip(&revoked, "record_revoked_secret");
    round_trip(&pending, "record_pending_secret");
    round_trip(&removed_directory, "record_removed_directory");
    round_trip(&removed, "record_removed_secret");
    full.purge_ns = full.deleted_ns + STORE_RECOVERY_MAX_S * INT64_C(1000000000);
    add_all_rules(&full.details.rules);
    round_trip(&full, NULL);
    round_trip(&ruled, "record_ruled_secret");
    round_trip(&ruled_directory, "record_ruled_directory");
    rotated.details.rotation.every_s = 0;
    round_trip(&rotated, NULL);
    memset(&rotated.details.rotation, 0, sizeof rotated.details.rotation);
    rotated.details.rotation.every_s = 1;
    round_trip(&rotated, NULL);
    secret.details.description[0] = '\0';
    memset(secret.details.description, 0, sizeof secret.details.description);
    secret.details.previous = 0;
    policy_clear_acl(&secret.policy);
    round_trip(&secret, NULL);
}

static void test_slot(void **state)
{
    (void)state;
    static const char *const names[] = {"slot_key_file", "slot_passphrase", "slot_recipient",
                                        "slot_command"};
    for (size_t i = 0; i < 4; i++) {
        struct keyslot slot;
        unsigned char back[RECORD_SLOT_MAX];
        size_t len;
        const unsigned char *bytes = vector(names[i], &len);
        assert_ok(record_decode_slot(1, bytes, len, &slot));
        assert_int_equal(slot.kind, i + STORE_SLOT_KEYFILE);
        assert_int_equal(record_encode_slot(&slot, back), len);
        assert_memory_equal(back, bytes, len);
    }
}

static struct secbuf version_bytes(uint64_t node, uint32_t number, size_t len)
{
    SECBUF_AUTO struct secbuf value = secret_filled(len, 9);
    struct secbuf buf = SECBUF_INIT;
    assert_ok(secbuf_alloc(&buf, record_version_len(len)));
    record_encode_version(node, number, &value, buf.data);
    buf.len = record_version_len(len);
    return buf;
}

static void test_version(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 255, 4096, STORE_VALUE_MAX};
    size_t len;
    const unsigned char *bytes = vector("record_version", &len);
    SECBUF_AUTO struct secbuf buf = secret_of(bytes, len);

    assert_ok(record_decode_version(20, 17, 3, &buf));
    assert_int_equal(buf.len, 7);
    assert_memory_equal(buf.data, "hunter2", 7);
    for (size_t i = buf.len; i < buf.capacity; i++)
        assert_int_equal(buf.data[i], 0);

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        SECBUF_AUTO struct secbuf expected = secret_filled(lengths[i], 9);
        SECBUF_AUTO struct secbuf record = version_bytes(1234, 5, lengths[i]);
        assert_in_range(record.len, lengths[i], lengths[i] + RECORD_VERSION_OVERHEAD);
        assert_ok(record_decode_version(1, 1234, 5, &record));
        assert_int_equal(record.len, lengths[i]);
        if (lengths[i] > 0)
            assert_memory_equal(record.data, expected.data, lengths[i]);
    }
}

static void test_version_of_another(void **state)
{
    (void)state;
    static const struct {
        uint64_t node;
        uint32_t number;
        size_t len;
    } cases[] = {{16, 3, 7}, {17, 2, 7}, {17, 3, STORE_VALUE_MAX + 1}};
    for (size_t i = 0; i < 3; i++) {
        SECBUF_AUTO struct secbuf buf = version_bytes(cases[i].node, cases[i].number, cases[i].len);
        assert_error(record_decode_version(1, 17, 3, &buf), STORE_ERR_INTEGRITY);
        assert_int_equal(buf.len, 0);
        for (size_t at = 0; at < buf.capacity; at++)
            if (buf.data[at] != 0)
                fail_msg("the refused value was not wiped");
    }
}

/* ---- Hostile bytes -----------------------------------------------------------------------------
 */

/* Decode and encode again; the length, 0 where it was refused, with INTEGRITY. */
typedef size_t again_fn(const unsigned char *bytes, size_t len, unsigned char *out);

static size_t root_again(const unsigned char *bytes, size_t len, unsigned char *out)
{
    struct root_record root;
    enum store_err err = record_decode_root(bytes, len, &root);
    if (err)
        assert_error(err, STORE_ERR_INTEGRITY);
    return err ? 0 : record_encode_root(&root, out);
}

static uint64_t node_id;

static size_t node_again(const unsigned char *bytes, size_t len, unsigned char *out)
{
    static struct node_record node;
    enum store_err err = record_decode_node(node_id, bytes, len, &node);
    if (err)
        assert_error(err, STORE_ERR_INTEGRITY);
    return err ? 0 : record_encode_node(&node, out);
}

static size_t slot_again(const unsigned char *bytes, size_t len, unsigned char *out)
{
    struct keyslot slot;
    enum store_err err = record_decode_slot(1, bytes, len, &slot);
    if (err)
        assert_error(err, STORE_ERR_INTEGRITY);
    return err ? 0 : record_encode_slot(&slot, out);
}

static size_t try_bytes(again_fn *again, const unsigned char *bytes, size_t len)
{
    unsigned char out[RECORD_NODE_MAX];
    size_t back = again(bytes, len, out);
    if (back != 0 && (back != len || memcmp(out, bytes, len) != 0))
        fail_msg("a record of %zu bytes has a second encoding", len);
    return back;
}

/* Every length shorter and one longer, every value of every byte; at an exact allocation. Only the
 * `optional` fields at its end may be missing. */
static void mutate(again_fn *again, const unsigned char *bytes, size_t len, size_t optional)
{
    size_t accepted = 0;

    assert_int_equal(try_bytes(again, bytes, len), len);
    for (size_t cut = 0; cut < len; cut++) {
        unsigned char *copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, cut);
        accepted += try_bytes(again, copy, cut) != 0;
        free(copy);
    }
    assert_int_equal(accepted, optional);
    accepted = 0;
    unsigned char *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    for (unsigned v = 0; v < 256; v++) {
        copy[len] = (unsigned char)v;
        assert_int_equal(try_bytes(again, copy, len + 1), 0);
    }
    free(copy);
    copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    for (size_t at = 0; at < len; at++) {
        for (unsigned v = 1; v < 256; v++) {
            copy[at] = (unsigned char)(bytes[at] ^ v);
            accepted += try_bytes(again, copy, len) != 0;
        }
        copy[at] = bytes[at];
    }
    free(copy);
    assert_true(accepted > 0); /* a number may be another number */
}

static void test_mutations(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t optional; /* fields at its end */
    } nodes[] = {{"record_root_directory", 0}, {"record_directory", 0},
                 {"record_secret", 0},         {"record_revoked_secret", 2},
                 {"record_rotated_secret", 2}, {"record_pending_secret", 2},
                 {"record_removed_secret", 1}, {"record_removed_directory", 1}};
    size_t len;
    const unsigned char *bytes = vector("record_root", &len);
    mutate(root_again, bytes, len, 0);
    bytes = vector("record_root_audit", &len);
    mutate(root_again, bytes, len, 2);
    bytes = vector("slot_passphrase", &len);
    mutate(slot_again, bytes, len, 0);
    bytes = vector("slot_recipient", &len);
    mutate(slot_again, bytes, len, 0);
    bytes = vector("slot_command", &len);
    mutate(slot_again, bytes, len, 0);
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        node_id = i == 0 ? STORE_ROOT_ID : 17;
        bytes = vector(nodes[i].name, &len);
        mutate(node_again, bytes, len, nodes[i].optional);
    }
}

static void test_version_mutations(void **state)
{
    (void)state;
    size_t len;
    const unsigned char *bytes = vector("record_version", &len);
    SECBUF_AUTO struct secbuf buf = secret_of(bytes, len);

    for (size_t cut = 0; cut < len; cut++) {
        memcpy(buf.data, bytes, len);
        buf.len = cut;
        assert_error(record_decode_version(20, 17, 3, &buf), STORE_ERR_INTEGRITY);
    }
    for (size_t at = 0; at < len - 7; at++)
        for (unsigned v = 1; v < 256; v++) {
            memcpy(buf.data, bytes, len);
            buf.data[at] ^= (unsigned char)v;
            buf.len = len;
            assert_error(record_decode_version(20, 17, 3, &buf), STORE_ERR_INTEGRITY);
        }
}

/* A field of `field_len` bytes put in front of, or instead of, the one at `at`. */
static size_t splice(const unsigned char *bytes, size_t len, size_t at, size_t replaced,
                     const unsigned char *field, size_t field_len, unsigned char *out)
{
    memcpy(out, bytes, at);
    memcpy(out + at, field, field_len);
    memcpy(out + at + field_len, bytes + at + replaced, len - at - replaced);
    return len - replaced + field_len;
}

static void test_fields(void **state)
{
    (void)state;
    unsigned char out[RECORD_NODE_MAX];
    size_t len;
    const unsigned char *bytes = vector("record_secret", &len);
    node_id = 17;

    for (size_t at = 0; at <= len;) {
        size_t field_len = at < len ? 5 + (size_t)bytes[at + 1] : 0;
        for (unsigned tag = 0; tag < 256; tag++) {
            /* No field may be added anywhere, known or unknown, but a time of deletion or of expiry
             * or a period of rotation in its place. */
            unsigned char added[13] = {(unsigned char)tag, 8};
            size_t n = splice(bytes, len, at, 0, added, 5 + 8, out);
            assert_int_equal(try_bytes(node_again, out, n), 0);
            added[5] = 1;
            n = splice(bytes, len, at, 0, added, 5 + 8, out);
            if (try_bytes(node_again, out, n) != 0)
                assert_true(at == len ? tag == 19 || tag == 40 : tag == 12 && bytes[at] == 14);
            added[1] = 0;
            n = splice(bytes, len, at, 0, added, 5, out);
            assert_int_equal(try_bytes(node_again, out, n), 0);
        }
        if (at == len)
            break;
        if (at + field_len < len) { /* twice, and in another order */
            size_t next_len = 5 + (size_t)bytes[at + field_len + 1];
            size_t n = splice(bytes, len, at, 0, bytes + at, field_len, out);
            assert_int_equal(try_bytes(node_again, out, n), 0);
            memcpy(out, bytes, len);
            memcpy(out + at, bytes + at + field_len, next_len);
            memcpy(out + at + next_len, bytes + at, field_len);
            assert_int_equal(try_bytes(node_again, out, len), 0);
        }
        at += field_len;
    }
}

/* ---- Limits and rules ---------------------------------------------------------------------------
 */

static void refused(const struct node_record *node)
{
    unsigned char bytes[RECORD_NODE_MAX];
    struct node_record back;
    size_t len = record_encode_node(node, bytes);
    assert_error(record_decode_node(node->id, bytes, len, &back), STORE_ERR_INTEGRITY);
}

#define refused_with(from, change)      \
    do {                                \
        struct node_record node = from; \
        change;                         \
        refused(&node);                 \
    } while (0)

static void test_places(void **state)
{
    (void)state;
    refused_with(a_directory(17), node.kind = (enum store_kind)3);
    refused_with(a_directory(17), node.kind = (enum store_kind)0);
    refused_with(a_directory(17), node.parent = 15);
    refused_with(a_directory(17), node.parent = 0);
    refused_with(a_directory(17), node.parent = 17); /* itself */
    refused_with(a_directory(17), node.id = 15);
    refused_with(a_directory(17), node.name_len = 0);
    refused_with(a_directory(17), node.name[0] = '/');
    refused_with(a_directory(17), node.name[0] = '@');
    refused_with(a_directory(17), node.name[0] = '\n');
    refused_with(a_directory(STORE_ROOT_ID), node.deleted_ns = 0);
    refused_with(a_directory(STORE_ROOT_ID), node.deleted_ns = 0; node.name_len = 0);
    refused_with(a_directory(STORE_ROOT_ID), node.parent = 0; node.name_len = 0); /* deleted */
    refused_with(a_directory(17), node.policy.mode = 01777);
    refused_with(a_directory(17), node.policy.uid = UINT32_MAX);
    refused_with(a_secret(), node.policy.entries[0].perm = 8);
    refused_with(a_secret(), node.policy.entries[1].tag = POLICY_USER);
    refused_with(a_secret(), strcpy(node.details.description, "a\tb"));
    refused_with(a_secret(), strcpy(node.details.description, "\xff"));
}

static void test_recovery(void **state)
{
    (void)state;
    struct node_record removed = a_removed_directory();

    assert_int_equal(record_recovery_s(&removed), 0);
    removed.purge_ns++; /* of a second that has begun */
    assert_int_equal(record_recovery_s(&removed), 1);
    removed.purge_ns = removed.deleted_ns + 1000000000;
    assert_int_equal(record_recovery_s(&removed), 1);
    removed.purge_ns = 0; /* as older stores have it */
    assert_int_equal(record_recovery_s(&removed), 30 * 86400);
    removed = a_removed_secret();
    assert_int_equal(record_recovery_s(&removed), 7 * 86400);
    refused_with(a_removed_directory(), node.purge_ns = 8);
    refused_with(a_removed_directory(), node.deleted_ns = 0);
    refused_with(a_removed_secret(), node.deleted_ns = 0);
    refused_with(a_removed_secret(), node.purge_ns = 1);
    refused_with(a_removed_secret(), node.purge_ns = -1);
    refused_with(a_removed_secret(), node.purge_ns = INT64_MAX);
    refused_with(a_removed_secret(), node.deleted_ns = INT64_MIN);
    refused_with(a_removed_secret(),
                 node.purge_ns = 401 + STORE_RECOVERY_MAX_S * INT64_C(1000000000));
}

static void test_version_lists(void **state)
{
    (void)state;
    refused_with(a_secret(), node.details.version_count = 0);
    refused_with(a_secret(), node.details.current = 19);
    refused_with(a_secret(), node.details.current = 0);
    refused_with(a_secret(), node.details.previous = 19);
    refused_with(a_secret(), node.details.previous = 20);
    refused_with(a_secret(), node.details.pending = 19);
    refused_with(a_secret(), node.details.pending = 20); /* it is current */
    refused_with(a_pending_secret(), node.details.pending = 18);
    refused_with(a_pending_secret(), node.details.versions[1].id = 21);
    refused_with(a_secret(), node.details.next_number = 3);
    refused_with(a_secret(), node.details.versions[0].number = 0);
    refused_with(a_secret(), node.details.versions[0].number = 3);
    refused_with(a_secret(), node.details.versions[0].id = 20);
    refused_with(a_secret(), node.details.versions[1].size_bytes = STORE_VALUE_MAX + 1);
    refused_with(a_secret(), node.details.versions[1].id = 17; node.details.current = 17);
}

static void test_rotations(void **state)
{
    (void)state;
    size_t len;
    const unsigned char *bytes = vector("record_rotated_secret", &len);
    const unsigned char *rotation = bytes + len - (13 + 5 + strlen("password:24"));
    unsigned char directory[RECORD_NODE_MAX];
    unsigned char none[RECORD_NODE_MAX];
    struct node_record other = a_directory(17);
    struct node_record back;

    assert_int_equal(rotation[0], 40);
    refused_with(a_rotated_secret(), node.details.rotation.every_s = STORE_ROTATION_MAX_S + 1);
    refused_with(a_rotated_secret(), node.details.rotation.every_s = UINT64_MAX);
    refused_with(a_rotated_secret(), strcpy(node.details.rotation.generator, "a\n"));
    refused_with(a_rotated_secret(), strcpy(node.details.rotation.generator, "\xff"));
    len = record_encode_node(&other, directory);
    memcpy(directory + len, rotation, 13);
    assert_error(record_decode_node(17, directory, len + 13, &back), STORE_ERR_INTEGRITY);
    other = a_rotated_secret();
    memset(other.details.rotation.generator, 0, sizeof other.details.rotation.generator);
    len = record_encode_node(&other, none);
    memcpy(none + len, "\x29\0\0\0", 5); /* a generator of no bytes */
    assert_error(record_decode_node(17, none, len + 5, &back), STORE_ERR_INTEGRITY);
    none[len + 1] = STORE_GENERATOR_MAX + 1;
    memset(none + len + 5, 'g', STORE_GENERATOR_MAX + 1);
    len += 5 + STORE_GENERATOR_MAX + 1;
    assert_error(record_decode_node(17, none, len, &back), STORE_ERR_INTEGRITY);
}

/* A record with a list of the bytes of `text` in the field `tag`. */
static void try_rules(unsigned tag, const char *text, size_t len, enum store_err expected)
{
    unsigned char bytes[RECORD_NODE_MAX];
    struct node_record node = a_directory(17);
    struct node_record back;
    size_t at = record_encode_node(&node, bytes);

    bytes[at] = (unsigned char)tag;
    bytes[at + 1] = (unsigned char)(len & 0xff);
    bytes[at + 2] = (unsigned char)(len >> 8);
    bytes[at + 3] = bytes[at + 4] = 0;
    memcpy(bytes + at + 5, text, len);
    enum store_err err = record_decode_node(17, bytes, at + 5 + len, &back);
    assert_int_equal(err, expected);
}

#define refused_rules(tag, text) try_rules(tag, text, sizeof(text) - 1, STORE_ERR_INTEGRITY)

static void test_rules(void **state)
{
    static char many[4096 + 1024];
    (void)state;

    try_rules(50, "a.service", 10, STORE_OK);
    refused_rules(50, "");
    refused_rules(50, "a.service");
    refused_rules(50, "a.service\0b.service");
    refused_rules(50, "a.service\0\0");
    refused_rules(50, "\0");
    refused_rules(50, "b.service\0a.service\0");
    refused_rules(50, "a.service\0a.service\0");
    refused_rules(50, "a/b.service\0");
    refused_rules(50, "a.timer\0");
    try_rules(51, "/a", 3, STORE_OK);
    refused_rules(51, "a\0");
    refused_rules(51, "/\0");
    refused_rules(51, "/a/\0");
    refused_rules(51, "/a//b\0");
    refused_rules(51, "/a/../b\0");
    refused_rules(51, "/a\n\0");
    refused_rules(51, "/a\xff\0");
    for (unsigned i = 0; i < 17; i++)
        memcpy(many + (size_t)3 * i, (const char[]){'/', (char)('a' + i), '\0'}, 3);
    try_rules(51, many, (size_t)3 * 16, STORE_OK);
    try_rules(51, many, (size_t)3 * 17, STORE_ERR_INTEGRITY);
    memset(many, 'a', sizeof many);
    for (unsigned i = 0; i < 5; i++) {
        many[i * 1024] = '/';
        many[i * 1024 + 1] = (char)('a' + i);
        many[i * 1024 + 1023] = '\0';
    }
    try_rules(51, many, (size_t)4 * 1024, STORE_OK);
    try_rules(51, many, (size_t)5 * 1024, STORE_ERR_INTEGRITY);
    many[1023] = 'a'; /* one of 2047 bytes */
    try_rules(51, many, (size_t)4 * 1024, STORE_ERR_INTEGRITY);
}

#define refused_rotation(change) \
    refused_with(a_secret_in_rotation(), struct store_rotation *r = &node.details.rotation; change)

static void test_steps(void **state)
{
    (void)state;
    refused_rotation(r->rotator[0] = '\0');
    refused_rotation(strcpy(r->rotator, ".."));
    refused_rotation(strcpy(r->rotator, "a/b"));
    refused_rotation(strcpy(r->rotator, "a\n"));
    refused_rotation(r->timeout_s = STORE_STEP_TIMEOUT_MAX_S + 1);
    refused_rotation(r->timeout_s = UINT32_MAX);
    refused_rotation(r->step = (enum store_step)5);
    refused_rotation(r->step = (enum store_step)255);
    refused_rotation(r->old_number = 0);
    refused_rotation(r->old_number = 3);
    refused_rotation(r->new_number = 0);
    refused_rotation(r->new_number = 4);
    refused_rotation(r->step = STORE_STEP_CREATE);
    refused_rotation(r->step = STORE_STEP_CREATE; r->new_number = 0; r->old_number = 4);
}

/* The vector ends with the rotator, the step and the time limit. */
static void test_rotators(void **state)
{
    (void)state;
    size_t len;
    const unsigned char *bytes = vector("record_secret_in_rotation", &len);
    size_t limit_at = len - (5 + 4);
    size_t step_at = limit_at - (5 + 9);
    size_t rotator_at = step_at - (5 + strlen("postgresql"));
    unsigned char out[RECORD_NODE_MAX];
    struct node_record back;

    assert_int_equal(bytes[rotator_at], 42);
    assert_int_equal(bytes[step_at], 43);
    assert_int_equal(bytes[limit_at], 44);
    memcpy(out, bytes, len);
    memset(out + limit_at + 5, 0, 4); /* a limit of none is no limit that is there */
    assert_error(record_decode_node(17, out, len, &back), STORE_ERR_INTEGRITY);
    memcpy(out, bytes, len);
    out[step_at + 5] = 0; /* likewise a step */
    assert_error(record_decode_node(17, out, len, &back), STORE_ERR_INTEGRITY);
    memcpy(out, bytes, len);
    out[rotator_at + 5 + 4] = '\0'; /* a name ends where it ends */
    assert_error(record_decode_node(17, out, len, &back), STORE_ERR_INTEGRITY);
    for (size_t cut = 1; cut < len - rotator_at; cut++) {
        bool whole = len - cut == limit_at; /* without the limit it is one more record */
        enum store_err err = record_decode_node(17, bytes, len - cut, &back);
        assert_int_equal(err, whole || len - cut == step_at ? STORE_OK : STORE_ERR_INTEGRITY);
    }
    memcpy(out, bytes, rotator_at); /* a step without a rotator */
    memcpy(out + rotator_at, bytes + step_at, len - step_at);
    len -= step_at - rotator_at;
    assert_error(record_decode_node(17, out, len, &back), STORE_ERR_INTEGRITY);
}

static void test_one_too_many(void **state)
{
    (void)state;
    struct node_record node = a_full_secret();
    unsigned char bytes[RECORD_NODE_MAX + 24];
    struct node_record back;
    size_t len = record_encode_node(&node, bytes);
    size_t list = len - (size_t)24 * STORE_VERSIONS_KEPT;

    /* One more version than are kept, larger than the last. */
    memcpy(bytes + len, bytes + len - 24, 24);
    bytes[len]++;
    bytes[len + 8]++;
    bytes[list - 4] = (unsigned char)(24 * (STORE_VERSIONS_KEPT + 1) & 0xff);
    bytes[list - 3] = (unsigned char)(24 * (STORE_VERSIONS_KEPT + 1) >> 8);
    assert_error(record_decode_node(17, bytes, len + 24, &back), STORE_ERR_INTEGRITY);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool valid;
    } names[] = {
        {"a", true},
        {"...", true},
        {".a", true},
        {"..a", true},
        {" ", true},
        {"a b", true},
        {"~", true},
        {"\xc3\xa4", true},
        {"\xc2\xa0", true},
        {"\xe2\x82\xac", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xf0\x9f\x94\x91", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"a@", true},
        {"", false},
        {".", false},
        {"..", false},
        {"/", false},
        {"a/b", false},
        {"\n", false},
        {"a\x1f", false},
        {"\x7f", false},
        {"\xc2\x80", false},
        {"\xc2\x9f", false},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false},
        {"\xc0\xaf", false},
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xff", false},
        {"\xfe", false},
        {"\xc3", false},
        {"a\xe2\x82", false},
        {"\xc3"
         "a",
         false},
        {"\xe2\x82"
         "a",
         false},
        {"\xf0\x9f\x94", false},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i].name);
        for (int in_root = 0; in_root < 2; in_root++)
            if (record_name_valid(names[i].name, len, in_root) != names[i].valid)
                fail_msg("name %zu", i);
    }
    assert_false(record_name_valid("a\0b", 3, false));
    assert_false(record_name_valid("\0", 1, false));
    assert_true(record_name_valid("@a", 2, false));
    assert_false(record_name_valid("@a", 2, true));
    assert_false(record_name_valid("@", 1, true));

    char name[STORE_NAME_MAX + 1];
    memset(name, 'x', sizeof name);
    assert_true(record_name_valid(name, STORE_NAME_MAX, true));
    assert_false(record_name_valid(name, STORE_NAME_MAX + 1, true));
    memcpy(name + STORE_NAME_MAX - 2, "\xc3\xa4", 2);
    assert_true(record_name_valid(name, STORE_NAME_MAX, true));
    assert_false(record_name_valid(name, STORE_NAME_MAX - 1, true)); /* cut in a character */
}

static void test_descriptions(void **state)
{
    (void)state;
    char text[STORE_DESCRIPTION_MAX + 2];
    memset(text, 'x', sizeof text);
    text[STORE_DESCRIPTION_MAX + 1] = '\0';
    assert_false(record_description_valid(text));
    text[STORE_DESCRIPTION_MAX] = '\0';
    assert_true(record_description_valid(text));
    assert_true(record_description_valid(""));
    assert_true(record_description_valid("a/b @ .. \xe2\x82\xac"));
    assert_false(record_description_valid("two\nlines"));
    assert_false(record_description_valid("\xc3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_root),
        plain_test(test_node),
        plain_test(test_slot),
        plain_test(test_version),
        plain_test(test_version_of_another),
        plain_test(test_mutations),
        plain_test(test_version_mutations),
        plain_test(test_fields),
        plain_test(test_places),
        plain_test(test_recovery),
        plain_test(test_version_lists),
        plain_test(test_rotations),
        plain_test(test_rules),
        plain_test(test_steps),
        plain_test(test_rotators),
        plain_test(test_one_too_many),
        plain_test(test_names),
        plain_test(test_descriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
