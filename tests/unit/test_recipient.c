/*
 * Identities and recipients: the known-answer vectors, and texts that are refused.
 */
#include "helpers.h"
#include "recipient.h"

#include <string.h>

static void test_vectors(void **state)
{
    (void)state;
    size_t len;
    const unsigned char *bytes = vector("identity", &len);
    SECBUF_AUTO struct secbuf identity = secret_of(bytes, len);
    SECBUF_AUTO struct secbuf text = SECBUF_INIT;
    SECBUF_AUTO struct secbuf back = SECBUF_INIT;
    unsigned char key[RECIPIENT_KEY_BYTES];
    char printed[RECIPIENT_TEXT_BYTES];

    assert_ok(recipient_of(&identity, key));
    assert_memory_equal(key, vector("recipient", &len), sizeof key);
    recipient_print(key, printed);
    bytes = vector("recipient_text", &len);
    assert_int_equal(strlen(printed), len);
    assert_memory_equal(printed, bytes, len);
    memset(key, 0, sizeof key);
    assert_ok(recipient_parse(printed, key));
    assert_memory_equal(key, vector("recipient", &len), sizeof key);

    assert_ok(recipient_print_identity(&identity, &text));
    bytes = vector("identity_text", &len);
    assert_int_equal(text.len, len);
    assert_int_equal(text.len, RECIPIENT_IDENTITY_LEN);
    assert_memory_equal(text.data, bytes, len);
    assert_ok(recipient_parse_identity(&text, &back));
    assert_int_equal(back.len, RECIPIENT_KEY_BYTES);
    assert_memory_equal(back.data, identity.data, back.len);
}

/* Any one character that is another, and any two that change places. */
static void test_typing_errors(void **state)
{
    (void)state;
    size_t len;
    unsigned char key[RECIPIENT_KEY_BYTES];
    char text[RECIPIENT_TEXT_BYTES + 2] = "";
    static const char other[] = "A0-_z.=";

    const unsigned char *bytes = vector("recipient_text", &len);
    memcpy(text, bytes, len);
    for (size_t i = 0; i < len; i++) {
        char right = text[i];
        for (size_t k = 0; k < sizeof other; k++) {
            text[i] = other[k];
            if (text[i] != right)
                assert_error(recipient_parse(text, key), STORE_ERR_INVALID);
        }
        text[i] = text[i + 1];
        text[i + 1] = right;
        if (i + 1 < len && text[i] != right)
            assert_error(recipient_parse(text, key), STORE_ERR_INVALID);
        text[i + 1] = text[i];
        text[i] = right;
    }
    assert_ok(recipient_parse(text, key));
    text[len] = 'A';
    assert_error(recipient_parse(text, key), STORE_ERR_INVALID);
    text[len] = '\n';
    assert_error(recipient_parse(text, key), STORE_ERR_INVALID);
    assert_error(recipient_parse("", key), STORE_ERR_INVALID);
    assert_error(recipient_parse(RECIPIENT_PREFIX, key), STORE_ERR_INVALID);
}

static void test_one_is_not_taken_for_the_other(void **state)
{
    (void)state;
    size_t len;
    unsigned char key[RECIPIENT_KEY_BYTES];
    char text[128] = RECIPIENT_PREFIX;
    char whole[128] = "";
    SECBUF_AUTO struct secbuf recipient = SECBUF_INIT;
    SECBUF_AUTO struct secbuf identity = SECBUF_INIT;
    const unsigned char *bytes = vector("recipient_text", &len);

    recipient = secret_of(bytes, len);
    assert_error(recipient_parse_identity(&recipient, &identity), STORE_ERR_INVALID);
    assert_null(identity.data);
    bytes = vector("identity_text", &len);
    memcpy(whole, bytes, len);
    assert_error(recipient_parse(whole, key), STORE_ERR_INVALID);
    assert_non_null(strstr(store_fault()->reason, "secret"));
    /* Its bytes under the other prefix: the checksum is of both. */
    size_t at = sizeof RECIPIENT_IDENTITY_PREFIX - 1;
    memcpy(text + strlen(text), bytes + at, len - at);
    assert_error(recipient_parse(text, key), STORE_ERR_INVALID);
}

static void test_new_identities_differ(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf one = SECBUF_INIT;
    SECBUF_AUTO struct secbuf two = SECBUF_INIT;
    SECBUF_AUTO struct secbuf shorter = secret_filled(RECIPIENT_KEY_BYTES - 1, 1);
    unsigned char key[RECIPIENT_KEY_BYTES];

    assert_ok(recipient_new_identity(&one));
    assert_ok(recipient_new_identity(&two));
    assert_memory_not_equal(one.data, two.data, RECIPIENT_KEY_BYTES);
    assert_ok(recipient_of(&one, key));
    assert_true(recipient_valid(key));
    assert_error(recipient_of(&shorter, key), STORE_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_vectors),
        plain_test(test_typing_errors),
        plain_test(test_one_is_not_taken_for_the_other),
        plain_test(test_new_identities_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
