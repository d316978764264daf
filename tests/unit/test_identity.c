/*
 * Processes by what /proc says of them.
 */
#include "helpers.h"
#include "identity.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void check_cgroup(const char *text, const char *unit, const char *container)
{
    char got_unit[IDENTITY_UNIT];
    char got_container[IDENTITY_CONTAINER];

    identity_parse_cgroup(text, got_unit, sizeof got_unit, got_container);
    assert_string_equal(got_unit, unit);
    assert_string_equal(got_container, container);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_units_and_containers(void **state)
{
    (void)state;
    check_cgroup("", "", "");
    check_cgroup("0::/\n", "", "");
    check_cgroup("nonsense", "", "");
    check_cgroup("0::/system.slice/nginx.service\n", "nginx.service", "");
    check_cgroup("0::/system.slice/nginx.service", "nginx.service", "");
    check_cgroup("0::/system.slice/a.service/payload", "a.service", "");
    check_cgroup("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n",
                 "user@1000.service", "");
    check_cgroup("0::/system.slice\n", "", "");
    check_cgroup("0::/system.slice/docker-" ID ".scope\n", "docker-" ID ".scope", "0123456789ab");
    check_cgroup("0::/docker/" ID "\n", "", "0123456789ab");
    check_cgroup("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope/init\n",
                 "cri-containerd-" ID ".scope", "0123456789ab");
    check_cgroup("12:cpu:/x.service\n1:name=systemd:/system.slice/b.service\n0::/c.service\n",
                 "b.service", "");
    check_cgroup("12:cpu:/x.service\n3:memory:/y.service\n", "", "");
    check_cgroup("0::/init.scope\n", "init.scope", "");
    check_cgroup("0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service",
                 "");
    check_cgroup("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope", "");
    check_cgroup("0::relative.service\n", "", "");
}

/* Names that somebody chose who has a part of the tree to himself. */
static void test_units_that_are_not_the_systems(void **state)
{
    (void)state;
    check_cgroup("0::/system.slice/evil.service/nginx.service\n", "evil.service", "");
    check_cgroup("0::/system.slice/evil.service/system.slice/nginx.service\n", "evil.service", "");
    check_cgroup("0::/user.slice/user-7.slice/user@7.service/system.slice/nginx.service\n",
                 "user@7.service", "");
    check_cgroup("0::/user.slice/user-7.slice/user@7.service/x:name=systemd:/system.slice/"
                 "nginx.service\n",
                 "user@7.service", "");
    check_cgroup("1:name=systemd:/docker/" ID "/system.slice/nginx.service\n", "", "0123456789ab");
    check_cgroup("0::/lxc.payload.a/system.slice/nginx.service\n", "", "");
    check_cgroup("0::/machine.slice/machine-a.scope/payload/system.slice/nginx.service\n",
                 "machine-a.scope", "");
    check_cgroup("0::/../../system.slice/nginx.service\n", "", "");
    check_cgroup("0::/system.slice/nginx.service (deleted)\n", "", "");
    check_cgroup("3:name=systemd:x:/nginx.service\n", "", "");
    check_cgroup("7:cpu,name=systemd:/nginx.service\n", "", "");
}

/* Longer than there is room for. */
static void test_long_names(void **state)
{
    char unit[IDENTITY_UNIT];
    char container[IDENTITY_CONTAINER];
    char text[1024] = "0::/";
    (void)state;

    memset(text + 4, 'u', 300);
    memcpy(text + 304, ".service\n", 10);
    identity_parse_cgroup(text, unit, sizeof unit, container);
    assert_int_equal(strlen(unit), IDENTITY_UNIT - 1);
}

static void *look_from_a_thread(void *arg)
{
    struct identity *found = arg;
    assert_true(identity_of((uint32_t)gettid(), found));
    assert_int_equal(found->thread_start, identity_thread_start((uint32_t)gettid()));
    return NULL;
}

static void test_ourselves(void **state)
{
    struct identity first;
    struct identity other;
    pthread_t thread;
    (void)state;

    prctl(PR_SET_NAME, "a) R 1 (b c\n");
    assert_true(identity_of((uint32_t)getpid(), &first));
    assert_int_equal(pthread_create(&thread, NULL, look_from_a_thread, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(first.pid, getpid());
    assert_int_equal(other.pid, getpid());
    assert_int_equal(first.start, other.start);
    assert_true(other.thread_start >= other.start);
    assert_int_equal(first.uid, getuid());
    assert_string_equal(first.command, "a) R 1 (b c");
    assert_non_null(strstr(first.executable, "test_identity"));
    assert_true(identity_lives(first.pid, first.start));
    assert_false(identity_lives(first.pid, first.start + 1));
}

static void test_who_is_gone(void **state)
{
    struct identity found;
    struct identity kept = {.pid = 4};
    (void)state;

    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_true(identity_of((uint32_t)pid, &found));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    assert_false(identity_lives(found.pid, found.start)); /* a zombie */
    assert_false(identity_of((uint32_t)pid, &kept));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(identity_lives(found.pid, found.start));
    assert_int_equal(identity_thread_start((uint32_t)pid), 0);
    assert_false(identity_of((uint32_t)pid, &kept));
    assert_false(identity_of(0, &kept));
    assert_int_equal(kept.pid, 4); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_and_containers),
        cmocka_unit_test(test_units_that_are_not_the_systems),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_who_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
