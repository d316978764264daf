/*
 * Users and groups, with a name service of this test's own: the functions of pwd.h and grp.h are
 * replaced.
 */
#include "helpers.h"
#include "names.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

struct passwd *__wrap_getpwnam(const char *name);
struct passwd *__wrap_getpwuid(uid_t uid);
struct group *__wrap_getgrnam(const char *name);
struct group *__wrap_getgrgid(gid_t gid);

#define LONGEST "a23456789012345678901234567890123456789012345678901234567890123" /* 63 */

/* The same for users and groups, but that groups have ids 1000 above. */
static struct {
    const char *name;
    uint32_t id;
} directory[] = {
    {"root", 0},
    {"alice", 5000},
    {"alice64", 5064}, /* shares alice's place in the cache */
    {"5000", 77},      /* a name that looks like a number */
    {"bad\x1b[31m", 81},
    {"bad\nline", 82},
    {"bad\xff", 83},
    {"", 84},
    {LONGEST, 85},
    {LONGEST "4", 86},
    {"gr\xc3\xbc\xc3\x9f"
     "er",
     87},
};

static unsigned asked;
static char name_room[128]; /* one buffer for every answer, as the real ones have */
static struct passwd user;
static struct group group;

static bool answer(size_t i)
{
    memset(name_room, 0, sizeof name_room);
    strcpy(name_room, directory[i].name);
    user = (struct passwd){
        .pw_name = name_room, .pw_uid = directory[i].id, .pw_gid = directory[i].id + 1000};
    group = (struct group){.gr_name = name_room, .gr_gid = directory[i].id + 1000};
    return true;
}

static bool find_name(const char *name)
{
    asked++;
    for (size_t i = 0; i < sizeof directory / sizeof directory[0]; i++)
        if (name[0] && strcmp(directory[i].name, name) == 0)
            return answer(i);
    return false;
}

static bool find_id(uint32_t id)
{
    asked++;
    for (size_t i = 0; i < sizeof directory / sizeof directory[0]; i++)
        if (directory[i].id == id)
            return answer(i);
    return false;
}

struct passwd *__wrap_getpwnam(const char *name)
{
    return find_name(name) ? &user : NULL;
}

struct passwd *__wrap_getpwuid(uid_t uid)
{
    return find_id(uid) ? &user : NULL;
}

struct group *__wrap_getgrnam(const char *name)
{
    return find_name(name) ? &group : NULL;
}

struct group *__wrap_getgrgid(gid_t gid)
{
    return gid >= 1000 && find_id(gid - 1000) ? &group : NULL;
}

static void test_find(void **state)
{
    (void)state;
    uint32_t id = 4711;
    assert_true(names_find_user("root", &id));
    assert_int_equal(id, 0);
    assert_true(names_find_user("alice", &id));
    assert_int_equal(id, 5000);
    assert_true(names_find_group("alice", &id));
    assert_int_equal(id, 6000);
    assert_true(names_find_user("5000", &id)); /* the name goes first */
    assert_int_equal(id, 77);
    assert_true(names_find_group("5000", &id));
    assert_int_equal(id, 1077);
    assert_true(names_find_user("5001", &id)); /* nobody has to have it */
    assert_int_equal(id, 5001);
    assert_true(names_find_group("0", &id));
    assert_int_equal(id, 0);
    assert_true(names_find_user("4294967294", &id));
    assert_int_equal(id, 4294967294);
}

static void test_find_nobody(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",   "bob",        "Alice",      "alice ",
                                        "-1", "+1",         "0x1",        "1.5",
                                        " 1", "4294967295", "4294967296", "18446744073709551616"};
    uint32_t id = 4711;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(names_find_user(wrong[i], &id));
        assert_false(names_find_group(wrong[i], &id));
    }
    assert_int_equal(id, 4711);
}

static void test_login_group(void **state)
{
    (void)state;
    uint32_t gid = 4711;
    assert_false(names_login_group(5001, &gid));
    assert_int_equal(gid, 4711);
    assert_true(names_login_group(5000, &gid));
    assert_int_equal(gid, 6000);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(names_user(0), "root");
    assert_string_equal(names_group(0), "0");
    assert_string_equal(names_user(5000), "alice");
    assert_string_equal(names_group(6000), "alice");
    assert_string_equal(names_group(5000), "5000"); /* users and groups are apart */
    assert_string_equal(names_user(6000), "6000");
    assert_string_equal(names_user(UINT32_MAX), "4294967295");
    assert_string_equal(names_user(87), "gr\xc3\xbc\xc3\x9f"
                                        "er");
}

/* Two ids that share a place in the cache take turns there. */
static void test_cache(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_string_equal(names_user(5000), "alice");
        assert_string_equal(names_user(5064), "alice64");
        assert_string_equal(names_user(5128), "5128");
        assert_string_equal(names_group(6000), "alice");
        assert_string_equal(names_group(6064), "alice64");
    }
    const char *name = names_user(5000);
    unsigned before = asked;
    for (int i = 0; i < 100; i++)
        assert_string_equal(names_user(5000), "alice");
    assert_string_equal(names_user(5001), "5001");
    assert_string_equal(name, "alice"); /* another id's place leaves it alone */
    assert_int_equal(asked, before + 1);
    assert_string_equal(names_user(5001), "5001"); /* that there is none is kept, too */
    assert_int_equal(asked, before + 1);
}

static void test_names_that_cannot_be_printed(void **state)
{
    (void)state;
    assert_string_equal(names_user(81), "81");
    assert_string_equal(names_user(82), "82");
    assert_string_equal(names_user(83), "83");
    assert_string_equal(names_user(84), "84");
    assert_string_equal(names_user(85), LONGEST);
    assert_string_equal(names_user(86), "86"); /* no room */
    assert_string_equal(names_group(1081), "1081");
    assert_string_equal(names_group(1084), "1084");
    assert_string_equal(names_group(1085), LONGEST);
    assert_string_equal(names_group(1086), "1086");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_find),        plain_test(test_find_nobody),
        plain_test(test_login_group), plain_test(test_names),
        plain_test(test_cache),       plain_test(test_names_that_cannot_be_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
