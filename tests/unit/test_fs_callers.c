/*
 * Asking who calls: the worker's side (callers.h), the supervisor's (resolver.h), and what is found
 * out (facts.h).
 */
#include "callers.h"
#include "facts.h"
#include "helpers.h"
#include "resolver.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 0x40000000u /* no thread has a number from here on */
#define MOUNT "/nowhere/secrets"

struct pair {
    int sockets[2]; /* the worker's end, the supervisor's */
    struct resolver *resolver;
    struct callers *callers;
};

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);

    *state = p;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->sockets) != 0)
        return -1;
    p->callers = callers_new(p->sockets[0], CALLERS_MAX);
    return 0;
}

static int setup_resolver(void **state)
{
    int result = setup(state);
    struct pair *p = *state;

    p->resolver = resolver_start(p->sockets[1], MOUNT);
    return p->resolver ? result : -1;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    resolver_stop(p->resolver);
    callers_free(p->callers);
    close(p->sockets[0]);
    if (p->sockets[1] >= 0)
        close(p->sockets[1]);
    free(p);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static uint32_t self(void)
{
    return (uint32_t)gettid();
}

/* From here on nobody answers. */
static void end_resolver(struct pair *p)
{
    resolver_stop(p->resolver);
    p->resolver = NULL;
}

/* ---- Asking and keeping -------------------------------------------------- */

static void test_who_we_are(void **state)
{
    struct pair *p = *state;
    struct caller_facts facts;
    struct caller caller;
    struct stat st;
    char path[PATH_MAX] = "";

    assert_int_equal(stat("/proc/self/exe", &st), 0);
    assert_true(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    assert_true(callers_find(p->callers, self(), false, &caller));
    assert_int_equal(caller.who.pid, getpid());
    assert_int_equal(caller.who.uid, getuid());
    assert_int_equal(caller.who.thread_start, identity_thread_start(self()));
    assert_int_equal(caller.device, st.st_dev);
    assert_int_equal(caller.inode, st.st_ino);
    assert_true(callers_ask(p->callers, self(), &facts));
    assert_memory_equal(&facts.caller, &caller, sizeof caller);
    assert_string_equal(facts.executable, path);
    assert_true(facts.in_place);
}

/* What goes on record of a caller is what secretctl would write of itself. */
static void test_what_goes_on_record(void **state)
{
    struct pair *p = *state;
    struct caller caller;
    struct identity who;

    assert_true(identity_of(self(), &who));
    assert_true(who.executable[0] == '/');
    assert_true(callers_find(p->callers, self(), false, &caller));
    assert_string_equal(caller.who.command, who.command);
    assert_string_equal(caller.who.executable, who.executable);
    assert_string_equal(caller.who.unit, who.unit);
    assert_string_equal(caller.who.container, who.container);
    assert_int_equal(caller.who.start, who.start);
}

static void test_nobody(void **state)
{
    struct pair *p = *state;
    struct caller caller = {.inode = 7};
    struct caller_facts facts = {.in_place = false};

    assert_false(callers_find(p->callers, NOBODY, false, &caller));
    assert_int_equal(caller.inode, 0);
    assert_false(callers_find(p->callers, 0, false, &caller));
    assert_false(callers_ask(p->callers, NOBODY, &facts));
}

static void test_what_is_kept_is_not_asked_for_again(void **state)
{
    struct pair *p = *state;
    struct caller first;
    struct caller again;
    unsigned before = count_descriptors();

    assert_true(callers_find(p->callers, self(), false, &first));
    assert_true(callers_find(p->callers, self(), true, &first));
    end_resolver(p);
    assert_int_equal(count_descriptors(), before + 1);
    assert_true(callers_find(p->callers, self(), false, &again));
    assert_memory_equal(&first, &again, sizeof first);
    assert_false(callers_find(p->callers, self(), true, &again));
    assert_int_equal(again.inode, 0);
}

static void test_another_name_may_be_another_program(void **state)
{
    struct pair *p = *state;
    struct caller caller;

    prctl(PR_SET_NAME, "before");
    assert_true(callers_find(p->callers, self(), false, &caller));
    assert_string_equal(caller.who.command, "before");
    prctl(PR_SET_NAME, "after");
    assert_true(callers_find(p->callers, self(), false, &caller));
    assert_string_equal(caller.who.command, "after");
    prctl(PR_SET_NAME, "afterwards");
    end_resolver(p);
    assert_false(callers_find(p->callers, self(), false, &caller));
}

static pid_t start_process(const char *program, const char *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (program)
            execl(program, program, arg, NULL);
        else
            pause();
        _exit(99);
    }
    assert_true(pid > 0);
    return pid;
}

static void end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_who_has_ended_is_forgotten(void **state)
{
    struct pair *p = *state;
    struct caller caller;
    pid_t pid = start_process(NULL, NULL);
    unsigned before = count_descriptors();

    assert_true(callers_find(p->callers, (uint32_t)pid, false, &caller));
    assert_int_equal(caller.who.pid, pid);
    end_process(pid);
    assert_false(callers_find(p->callers, (uint32_t)pid, false, &caller));
    end_resolver(p);
    assert_int_equal(count_descriptors(), before);
}

/* What the supervisor would say of any thread; `fd`: -1 for none. */
static void say(const struct pair *p, uint64_t number, uint32_t pid, int fd)
{
    struct callers_answer answer = {.number = number, .known = true};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof answer};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    answer.facts.caller.who.pid = pid;
    assert_true(fd < 0 || pread(fd, answer.name, IDENTITY_COMMAND, 0) > 0);
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    assert_int_equal(sendmsg(p->sockets[1], &message, 0), sizeof answer);
}

static int open_name(void)
{
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* A supervisor that says of each thread that its process has the same number, after an answer to
 * another question. NULL once it has answered `count`. */
struct script {
    const struct pair *pair;
    unsigned count;
    bool named; /* with a descriptor */
};

static void *follow_script(void *arg)
{
    const struct script *script = arg;
    struct callers_question question;
    int fd = open_name();

    for (unsigned i = 0; i < script->count; i++) {
        assert_int_equal(recv(script->pair->sockets[1], &question, sizeof question, 0),
                         sizeof question);
        say(script->pair, question.number - 1, 4, fd);
        assert_int_equal(send(script->pair->sockets[1], "nonsense", 8, 0), 8);
        say(script->pair, question.number, question.thread, script->named ? fd : -1);
    }
    close(fd);
    return NULL;
}

static void test_answers_to_other_questions(void **state)
{
    struct pair *p = *state;
    struct script script = {p, 2, true};
    struct caller caller;
    pthread_t thread;
    unsigned before = count_descriptors();
    int fd = open_name();

    say(p, 77, 5, fd); /* left over from a former worker */
    close(fd);
    assert_int_equal(pthread_create(&thread, NULL, follow_script, &script), 0);
    assert_true(callers_find(p->callers, 1234, false, &caller));
    assert_int_equal(caller.who.pid, 1234);
    assert_true(callers_find(p->callers, 1235, false, &caller));
    assert_int_equal(caller.who.pid, 1235);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(count_descriptors(), before + 2);
}

/* Without a descriptor, which may come of having too many, it is known and not kept. */
static void test_answers_without_a_descriptor(void **state)
{
    struct pair *p = *state;
    struct script script = {p, 2, false};
    struct caller caller;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, follow_script, &script), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(callers_find(p->callers, 1234, false, &caller));
        assert_int_equal(caller.who.pid, 1234);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_room_is_bounded(void **state)
{
    struct pair *p = *state;
    struct script script = {p, 4, true};
    struct caller caller;
    pthread_t thread;
    unsigned before = count_descriptors();

    callers_free(p->callers);
    p->callers = callers_new(p->sockets[0], 32); /* two for each part */
    assert_int_equal(pthread_create(&thread, NULL, follow_script, &script), 0);
    assert_true(callers_find(p->callers, 16, false, &caller));
    assert_true(callers_find(p->callers, 32, false, &caller));
    assert_true(callers_find(p->callers, 16, false, &caller)); /* kept */
    assert_true(callers_find(p->callers, 48, false, &caller)); /* in the place of 32 */
    assert_true(callers_find(p->callers, 16, false, &caller)); /* kept */
    assert_true(callers_find(p->callers, 32, false, &caller));
    assert_int_equal(caller.who.pid, 32);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(count_descriptors(), before + 2);
    callers_free(p->callers);
    p->callers = callers_new(p->sockets[0], 15); /* none at all */
    script.count = 2;
    assert_int_equal(pthread_create(&thread, NULL, follow_script, &script), 0);
    assert_true(callers_find(p->callers, 16, false, &caller));
    assert_true(callers_find(p->callers, 16, false, &caller));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(count_descriptors(), before);
}

static void test_nobody_answers(void **state)
{
    struct pair *p = *state;
    struct caller caller;
    int64_t began = now_ms();

    assert_false(callers_find(p->callers, self(), false, &caller));
    assert_true(now_ms() - began >= CALLERS_PATIENCE_MS);
    close(p->sockets[1]);
    p->sockets[1] = -1;
    began = now_ms();
    for (unsigned i = 0; i < 100; i++)
        assert_false(callers_find(p->callers, self(), true, &caller));
    assert_true(now_ms() - began < CALLERS_DECIDING_MS);
}

static void *find_often(void *arg)
{
    struct callers *callers = arg;
    struct caller caller;

    for (unsigned i = 0; i < 500; i++) {
        assert_true(callers_find(callers, self(), i % 16 == 0, &caller));
        assert_int_equal(caller.who.pid, getpid());
        assert_int_equal(caller.who.thread_start, identity_thread_start(self()));
    }
    return NULL;
}

static void test_several_threads(void **state)
{
    struct pair *p = *state;
    pthread_t threads[8];

    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, find_often, p->callers), 0);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* ---- What is found out --------------------------------------------------- */

static struct facts_mount elsewhere = {.path = MOUNT};

static bool find_facts(pid_t pid, const struct facts_mount *mount, struct caller_facts *ret_facts)
{
    struct callers_answer answer = {.number = 1};
    int fd;

    if (!facts_find((uint32_t)pid, mount, &answer, &fd))
        return false;
    close(fd);
    *ret_facts = answer.facts;
    return true;
}

/* Start a program, and look at it once it has begun. */
static void look_at(const char *program, struct caller_facts *ret_facts)
{
    pid_t pid = start_process(program, "60");
    int64_t deadline = now_ms() + 10000;
    char ours[PATH_MAX] = "";

    assert_true(readlink("/proc/self/exe", ours, sizeof ours - 1) > 0);
    do
        assert_true(now_ms() < deadline);
    while (!find_facts(pid, &elsewhere, ret_facts) || strcmp(ret_facts->executable, ours) == 0);
    end_process(pid);
}

static void copy_file(const char *from, const char *to)
{
    char command[PATH_MAX];
    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

struct folder {
    char path[64];
    char program[96];
    char other[96];
};

static struct folder make_folder(void)
{
    struct folder f = {.path = "/tmp/secretfs-callers-XXXXXX"};

    assert_non_null(mkdtemp(f.path));
    snprintf(f.program, sizeof f.program, "%s/program", f.path);
    snprintf(f.other, sizeof f.other, "%s/other", f.path);
    copy_file("/bin/sleep", f.program);
    return f;
}

static void remove_folder(const struct folder *f)
{
    unlink(f->program);
    unlink(f->other);
    assert_int_equal(rmdir(f->path), 0);
}

static void test_an_executable_by_path_and_inode(void **state)
{
    struct folder f = make_folder();
    struct caller_facts first;
    struct caller_facts facts;
    char deleted[128];
    (void)state;

    look_at(f.program, &first);
    assert_string_equal(first.executable, f.program);
    assert_true(first.in_place);
    assert_int_equal(link(f.program, f.other), 0);
    look_at(f.other, &facts);
    assert_string_equal(facts.executable, f.other);
    assert_int_equal(facts.caller.inode, first.caller.inode);
    unlink(f.other);
    copy_file(f.program, f.other);
    look_at(f.other, &facts);
    assert_string_equal(facts.executable, f.other);
    assert_int_not_equal(facts.caller.inode, first.caller.inode);
    unlink(f.other);
    assert_int_equal(symlink(f.program, f.other), 0);
    look_at(f.other, &facts);
    assert_string_equal(facts.executable, f.program);
    assert_true(facts.in_place);

    pid_t pid = start_process(f.program, "60");
    while (!find_facts(pid, &elsewhere, &facts) || strcmp(facts.executable, f.program) != 0)
        ;
    unlink(f.other);
    assert_int_equal(rename(f.program, f.other), 0);
    copy_file(f.other, f.program); /* as an update does */
    assert_true(find_facts(pid, &elsewhere, &facts));
    assert_string_equal(facts.executable, f.other);
    unlink(f.other);
    assert_true(find_facts(pid, &elsewhere, &facts));
    snprintf(deleted, sizeof deleted, "%s (deleted)", f.other);
    assert_string_equal(facts.executable, deleted);
    assert_false(facts.in_place);
    end_process(pid);
    remove_folder(&f);
}

/* A process in a mount namespace of its own, where another file is at the path. */
static void test_another_file_at_the_same_path(void **state)
{
    struct folder f = make_folder();
    struct caller_facts facts;
    (void)state;

    copy_file("/bin/sleep", f.other);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
            mount(f.other, f.program, NULL, MS_BIND, NULL) == 0)
            execl(f.program, f.program, "60", NULL);
        _exit(99);
    }
    int64_t deadline = now_ms() + 10000;
    do
        assert_true(now_ms() < deadline);
    while (!find_facts(pid, &elsewhere, &facts) || strstr(facts.executable, "test_fs") != NULL);
    assert_string_equal(facts.executable, f.program);
    assert_false(facts.in_place);
    end_process(pid);
    remove_folder(&f);
}

/* What is below our own mount is not looked at. */
static void test_nothing_below_the_mount_is_in_place(void **state)
{
    struct folder f = make_folder();
    struct caller_facts facts;
    struct facts_mount here = {.path = f.path};
    struct facts_mount beside = {.path = "/tmp/secretfs-callers"};
    struct facts_mount same_device = {.path = MOUNT};
    (void)state;

    pid_t pid = start_process(f.program, "60");
    while (!find_facts(pid, &beside, &facts) || strcmp(facts.executable, f.program) != 0)
        ;
    assert_true(facts.in_place);
    assert_true(find_facts(pid, &here, &facts));
    assert_string_equal(facts.executable, f.program);
    assert_false(facts.in_place);
    same_device.device = facts.caller.device;
    assert_true(find_facts(pid, &same_device, &facts));
    assert_false(facts.in_place);
    end_process(pid);
    remove_folder(&f);
}

/* The kernel's own have no executable. */
static void test_a_thread_of_the_kernel(void **state)
{
    struct caller_facts facts;
    (void)state;

    if (access("/proc/2/exe", F_OK) == 0 || !find_facts(2, &elsewhere, &facts))
        return; /* in a pid namespace, it is something else */
    assert_string_equal(facts.executable, "");
    assert_int_equal(facts.caller.inode, 0);
    assert_false(facts.in_place);
}

int main(void)
{
#define WITH_RESOLVER(test) cmocka_unit_test_setup_teardown(test, setup_resolver, teardown)
#define SCRIPTED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_RESOLVER(test_who_we_are),
        WITH_RESOLVER(test_what_goes_on_record),
        WITH_RESOLVER(test_nobody),
        WITH_RESOLVER(test_what_is_kept_is_not_asked_for_again),
        WITH_RESOLVER(test_another_name_may_be_another_program),
        WITH_RESOLVER(test_who_has_ended_is_forgotten),
        WITH_RESOLVER(test_several_threads),
        SCRIPTED(test_answers_to_other_questions),
        SCRIPTED(test_answers_without_a_descriptor),
        SCRIPTED(test_room_is_bounded),
        SCRIPTED(test_nobody_answers),
        cmocka_unit_test(test_an_executable_by_path_and_inode),
        cmocka_unit_test(test_another_file_at_the_same_path),
        cmocka_unit_test(test_nothing_below_the_mount_is_in_place),
        cmocka_unit_test(test_a_thread_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
