/*
 * ACLs as text: what is taken and refused, and what it makes of a policy, compared with setfacl(1)
 * and getfacl(1) on a file.
 */
#include "aclspec.h"
#include "helpers.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char file[] = "/tmp/secretfs-acl.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}

static struct aclspec modified(const char *text)
{
    struct aclspec spec = {0};
    struct acl_problem problem = {0};
    if (!aclspec_modify(&spec, text, &problem))
        fail_msg("'%s': %s: %s", text, problem.entry, problem.reason);
    return spec;
}

static struct aclspec removed(const char *text)
{
    struct aclspec spec = {0};
    struct acl_problem problem = {0};
    if (!aclspec_remove(&spec, text, &problem))
        fail_msg("'%s': %s: %s", text, problem.entry, problem.reason);
    return spec;
}

/* ---- Parsing --------------------------------------------------------------------------------- */

static void test_entries(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum acl_tag tag;
        uint32_t id;
        uint8_t perm;
    } entries[] = {
        {"u:1234:r", ACL_USER, 1234, 4},    {"user:1234:rw", ACL_USER, 1234, 6},
        {"u:root:rwx", ACL_USER, 0, 7},     {"u:4294967294:-", ACL_USER, 4294967294, 0},
        {"g:1234:x", ACL_GROUP, 1234, 1},   {"group:root:wx", ACL_GROUP, 0, 3},
        {"u::rw-", ACL_OWNER, 0, 6},        {"user::---", ACL_OWNER, 0, 0},
        {"g::r-x", ACL_OWNING_GROUP, 0, 5}, {"m::rx", ACL_MASK, 0, 5},
        {"m:rx", ACL_MASK, 0, 5},           {"mask:7", ACL_MASK, 0, 7},
        {"mask::-w-", ACL_MASK, 0, 2},      {"o::r", ACL_OTHER, 0, 4},
        {"other:0", ACL_OTHER, 0, 0},       {"u:1:xwr", ACL_USER, 1, 7}, /* in any order */
        {"u:1:-r", ACL_USER, 1, 4},         {"u:1:5", ACL_USER, 1, 5},
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        struct aclspec spec = modified(entries[i].text);
        assert_int_equal(spec.count, 1);
        assert_int_equal(spec.changes[0].tag, entries[i].tag);
        assert_int_equal(spec.changes[0].id, entries[i].id);
        assert_int_equal(spec.changes[0].perm, entries[i].perm);
        assert_false(spec.changes[0].remove);
        assert_false(spec.clear);
        assert_int_equal(spec.mask_given, entries[i].tag == ACL_MASK);
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct aclspec spec = {0};
    struct acl_problem problem;

    assert_true(aclspec_empty(&spec));
    assert_true(aclspec_modify(&spec, "u:1:r,g:2:w,m::x,o::-", &problem));
    assert_int_equal(spec.count, 4);
    assert_true(spec.mask_given);
    assert_true(aclspec_remove(&spec, "u:3,group:4,u:5:", &problem)); /* added behind */
    assert_int_equal(spec.count, 7);
    assert_int_equal(spec.changes[1].tag, ACL_GROUP);
    assert_int_equal(spec.changes[1].perm, 2);
    assert_false(spec.changes[3].remove);
    assert_int_equal(spec.changes[4].tag, ACL_USER);
    assert_int_equal(spec.changes[4].id, 3);
    assert_true(spec.changes[4].remove);
    assert_int_equal(spec.changes[5].tag, ACL_GROUP);
    assert_int_equal(spec.changes[5].id, 4);
    assert_int_equal(spec.changes[6].id, 5);
    assert_false(aclspec_empty(&spec));
    aclspec_clear(&spec);
    assert_int_equal(spec.count, 0);
    assert_true(spec.clear);
    assert_false(spec.mask_given);
    assert_false(aclspec_empty(&spec));
}

static void check_refused(const char *text, bool remove, const char *entry, const char *reason)
{
    struct aclspec spec = {0};
    struct acl_problem problem = {.reason = "none", .entry = "none"};
    bool taken =
        remove ? aclspec_remove(&spec, text, &problem) : aclspec_modify(&spec, text, &problem);
    if (taken)
        fail_msg("'%s' was taken", text);
    assert_string_equal(problem.entry, entry);
    assert_string_equal(problem.reason, reason);
}

#define FORM "it is not of the form u:NAME:PERMISSIONS"
#define TAG "it begins with none of u: g: m: o:"
#define PERM "permissions are rwx- or 0 to 7"
#define FIELDS "it has too many fields"
#define DEFAULT "default ACLs don't exist here: new secrets inherit nothing"
#define NAMELESS "the mask and the others have no name"
#define NAMED "only entries of named users and groups can be removed"

static void test_refusals(void **state)
{
    (void)state;
    static const char *const modify[][2] = {
        {"", FORM},
        {"u", FORM},
        {"alice", FORM},
        {":", TAG},
        {"x:1:r", TAG},
        {"U:1:r", TAG},
        {"us:1:r", TAG},
        {" u:1:r", TAG},
        {"u:1", "its permissions are missing"},
        {"u:", "its permissions are missing"},
        {"u:1:", PERM},
        {"u:1:8", PERM},
        {"u:1:77", PERM},
        {"u:1:rwxr", PERM},
        {"u:1:r w", PERM},
        {"u:1:X", PERM},
        {"u:1:+r", PERM},
        {"m:", PERM},
        {"m::", PERM},
        {"u:1:r:", FIELDS},
        {"u:1:r:w", FIELDS},
        {"d:u:1:r", DEFAULT},
        {"default:u:1:r", DEFAULT},
        {"d", DEFAULT},
        {"m:root:r", NAMELESS},
        {"o:1:r", NAMELESS},
        {"u:no-such-user-here:r", "there is no such user"},
        {"u:-1:r", "there is no such user"},
        {"u:4294967295:r", "there is no such user"},
        {"u:0x10:r", "there is no such user"},
        {"g:no-such-group-here:r", "there is no such group"},
        {"g:99999999999:r", "there is no such group"},
    };
    static const char *const remove[][2] = {
        {"", FORM},
        {"u", FORM},
        {"x:1", TAG},
        {"u:", NAMED},
        {"g::", NAMED},
        {"m:", NAMED},
        {"o::", NAMED},
        {"m:r", "an entry to remove has no permissions"},
        {"u:1:r", "an entry to remove has no permissions"},
        {"d:u:1", DEFAULT},
        {"u:1::", FIELDS},
        {"u:no-such-user-here", "there is no such user"},
    };
    char list[128];

    for (size_t i = 0; i < sizeof modify / sizeof modify[0]; i++) {
        check_refused(modify[i][0], false, modify[i][0], modify[i][1]);
        snprintf(list, sizeof list, "u:1:r,%s,g:2:w", modify[i][0]);
        check_refused(list, false, modify[i][0], modify[i][1]);
    }
    for (size_t i = 0; i < sizeof remove / sizeof remove[0]; i++) {
        check_refused(remove[i][0], true, remove[i][0], remove[i][1]);
        snprintf(list, sizeof list, "u:1,%s,g:2", remove[i][0]);
        check_refused(list, true, remove[i][0], remove[i][1]);
    }
    check_refused("u:1:r,", false, "", FORM);
}

static void test_lengths(void **state)
{
    (void)state;
    char text[4096];
    char shown[128];
    size_t at = 0;
    struct aclspec spec = {0};
    struct acl_problem problem;

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    memset(shown, 'x', sizeof shown);
    shown[sizeof shown - 1] = '\0';
    check_refused(text, false, shown, "it is too long");
    text[96] = '\0';
    check_refused(text, false, text, "it is too long");
    text[95] = '\0';
    check_refused(text, false, text, FORM);

    for (size_t i = 0; i < ACLSPEC_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%su:%zu:r", i ? "," : "", i);
    assert_true(aclspec_modify(&spec, text, &problem));
    assert_int_equal(spec.count, ACLSPEC_MAX);
    assert_false(aclspec_modify(&spec, "g:7:r", &problem));
    assert_string_equal(problem.entry, "g:7:r");
    assert_string_equal(problem.reason, "these are too many entries");
    assert_int_equal(spec.count, ACLSPEC_MAX);
}

/* ---- Results --------------------------------------------------------------------------------- */

static void print_perm(unsigned perm, char text[4])
{
    text[0] = perm & 4 ? 'r' : '-';
    text[1] = perm & 2 ? 'w' : '-';
    text[2] = perm & 1 ? 'x' : '-';
    text[3] = '\0';
}

/* As getfacl -c -n prints it, with what the mask leaves behind each entry that it takes from. */
static void print_acl(const struct policy *policy, char *text, size_t room)
{
    struct acl_line lines[ACL_LINES_MAX];
    size_t count = aclspec_lines(policy, lines);
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        char id[16] = "";
        char perm[4];
        if (lines[i].named)
            snprintf(id, sizeof id, "%u", lines[i].id);
        print_perm(lines[i].perm, perm);
        at += (size_t)snprintf(text + at, room - at, "%s:%s:%s", lines[i].tag, id, perm);
        print_perm(lines[i].effective, perm);
        if (lines[i].effective != lines[i].perm)
            at += (size_t)snprintf(text + at, room - at, " #effective:%s", perm);
        at += (size_t)snprintf(text + at, room - at, "\n");
        assert_true(at < room);
    }
}

static void assert_acl(const struct policy *policy, const char *expected)
{
    char text[4096];
    assert_true(policy_valid(policy));
    print_acl(policy, text, sizeof text);
    assert_string_equal(text, expected);
}

static void apply(struct policy *policy, struct aclspec spec)
{
    assert_ok(aclspec_apply(&spec, policy));
}

static void test_results(void **state)
{
    (void)state;
    struct policy p = policy_make(1, 2, 0640);

    assert_acl(&p, "user::rw-\ngroup::r--\nother::---\n");
    apply(&p, modified("u::rwx,g::w,o::x"));
    assert_acl(&p, "user::rwx\ngroup::-w-\nother::--x\n");
    assert_false(p.extended);
    apply(&p, modified("g:9:x,u:7:r,u:5:-"));
    assert_acl(&p, "user::rwx\nuser:5:---\nuser:7:r--\ngroup::-w-\ngroup:9:--x\nmask::rwx\n"
                   "other::--x\n");
    apply(&p, modified("m::w"));
    assert_acl(&p, "user::rwx\nuser:5:---\nuser:7:r-- #effective:---\ngroup::-w-\n"
                   "group:9:--x #effective:---\nmask::-w-\nother::--x\n");
    apply(&p, removed("g:9,u:77,u:7"));
    assert_acl(&p, "user::rwx\nuser:5:---\ngroup::-w-\nmask::-w-\nother::--x\n");
    apply(&p, modified("m::r,g::rw")); /* given, whatever follows */
    assert_acl(&p, "user::rwx\nuser:5:---\ngroup::rw- #effective:r--\nmask::r--\nother::--x\n");
    struct aclspec clear = {0};
    aclspec_clear(&clear);
    apply(&p, clear);
    assert_acl(&p, "user::rwx\ngroup::r--\nother::--x\n");
    assert_false(p.extended);
    apply(&p, removed("u:5"));
    assert_acl(&p, "user::rwx\ngroup::r--\nother::--x\n");
    apply(&p, (struct aclspec){0});
    assert_acl(&p, "user::rwx\ngroup::r--\nother::--x\n");
    apply(&p, modified("m::x"));
    assert_acl(&p, "user::rwx\ngroup::r-- #effective:---\nmask::--x\nother::--x\n");
    assert_int_equal(p.uid, 1);
    assert_int_equal(p.gid, 2);
}

static void test_clear_then_more(void **state)
{
    (void)state;
    struct policy p = policy_make(0, 0, 0640);
    struct aclspec spec = modified("u:8:rwx,m::r");
    struct acl_problem problem;

    apply(&p, modified("u:7:r"));
    aclspec_clear(&spec);
    assert_true(aclspec_modify(&spec, "u:9:w", &problem));
    assert_ok(aclspec_apply(&spec, &p));
    assert_acl(&p, "user::rw-\nuser:9:-w-\ngroup::r--\nmask::rw-\nother::---\n");
}

static void test_too_many_entries(void **state)
{
    (void)state;
    struct policy p = policy_make(0, 0, 0640);
    char entry[32];

    for (int i = 0; i < POLICY_ACL_MAX; i++) {
        snprintf(entry, sizeof entry, "%s:%d:r", i % 2 ? "u" : "g", i);
        apply(&p, modified(entry));
    }
    struct aclspec spec = modified("u:1000:r");
    assert_error(aclspec_apply(&spec, &p), STORE_ERR_LIMIT);
    apply(&p, modified("u:1:w"));
    struct acl_line lines[ACL_LINES_MAX];
    assert_int_equal(aclspec_lines(&p, lines), ACL_LINES_MAX);
}

/* ---- Compared with setfacl(1) ---------------------------------------------------------------- */

static void spawn(char *const argv[], const char *output)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;

    posix_spawn_file_actions_init(&actions);
    if (output)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output,
                                         O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(error, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The file's ACL as print_acl() does it: getfacl puts tabs before its comments, and an empty line
 * at the end. */
static void read_acl(char *text, size_t room)
{
    char path[] = "/tmp/secretfs-getfacl.XXXXXX";
    char *const argv[] = {(char *)"getfacl", (char *)"-cpn", file, NULL};
    char line[128];
    size_t at = 0;

    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    spawn(argv, path);
    FILE *output = fopen(path, "re");
    unlink(path);
    assert_non_null(output);
    text[0] = '\0';
    while (fgets(line, sizeof line, output)) {
        char *comment = strchr(line, '#');
        size_t len = strcspn(line, "\t#\n");
        if (len == 0)
            continue;
        at += (size_t)snprintf(text + at, room - at, "%.*s%s%s", (int)len, line, comment ? " " : "",
                               comment ? comment : "\n");
        assert_true(at < room);
    }
    fclose(output);
}

/* Ids, permissions and tags from few, so that entries meet again. */
static void random_spec(uint64_t *random, bool remove, char text[128])
{
    static const char *const tags[] = {"u", "g", "user", "group", "m", "o"};
    static const char *const perms[] = {"r", "-", "rw",  "x",   "rwx", "0",
                                        "5", "w", "-w-", "r-x", "7",   "wx"};
    size_t at = 0;

    text[0] = '\0';
    for (unsigned entries = 1 + next_random(random) % 3; entries > 0; entries--) {
        unsigned tag = next_random(random) % (remove ? 4 : 6);
        char id[16] = "";
        if (tag < 4 && (remove || next_random(random) % 4))
            snprintf(id, sizeof id, "%u", 20000 + next_random(random) % 5);
        at += (size_t)snprintf(text + at, 128 - at, "%s%s:%s%s%s", at ? "," : "", tags[tag], id,
                               remove ? "" : ":", remove ? "" : perms[next_random(random) % 12]);
    }
}

static void test_like_setfacl(void **state)
{
    (void)state;
    uint64_t random = 3;
    struct policy p = policy_make(0, 0, 0640);
    char text[128];
    char ours[4096];
    char theirs[4096];
    struct stat st;

    assert_int_equal(chmod(file, 0640), 0);
    for (int i = 0; i < 120; i++) {
        bool clear = i % 20 == 19;
        bool remove = !clear && next_random(&random) % 3 == 0;
        random_spec(&random, remove, text);
        char *const change[] = {(char *)"setfacl", (char *)(remove ? "-x" : "-m"), text, file,
                                NULL};
        char *const forget[] = {(char *)"setfacl", (char *)"-b", file, NULL};
        struct aclspec all = {0};
        aclspec_clear(&all);
        spawn(clear ? forget : change, NULL);
        apply(&p, clear ? all : remove ? removed(text) : modified(text));
        read_acl(theirs, sizeof theirs);
        print_acl(&p, ours, sizeof ours);
        if (strcmp(ours, theirs) != 0)
            fail_msg("after %s %s:\n%ssetfacl(1):\n%s", change[1], clear ? "-b" : text, ours,
                     theirs);
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(p.mode, st.st_mode & 0777);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_entries),          plain_test(test_lists),
        plain_test(test_refusals),         plain_test(test_lengths),
        plain_test(test_results),          plain_test(test_clear_then_more),
        plain_test(test_too_many_entries), plain_test(test_like_setfacl),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
