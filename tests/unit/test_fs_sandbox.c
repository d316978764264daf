/*
 * The worker's cage, from inside: a child enters it and tries what it must not do. Built without
 * sanitizers only, which need calls of their own.
 */
#include "helpers.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child does inside; its result is the child's exit status. */
typedef int attempt_fn(const struct fixture *f);

/* The wait status of a child that enters the cage for the fixture's store and makes the attempt. */
static int inside(const struct fixture *f, attempt_fn *attempt)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !sandbox_enter(f->path))
            _exit(100);
        _exit(attempt(f));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_killed(const struct fixture *f, attempt_fn *attempt)
{
    int status = inside(f, attempt);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void assert_exit(const struct fixture *f, attempt_fn *attempt, int expected)
{
    int status = inside(f, attempt);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
}

static int try_execve(const struct fixture *f)
{
    char name[] = "true";
    char *argv[] = {name, NULL};
    (void)f;
    return execve("/bin/true", argv, NULL);
}

static int try_socket(const struct fixture *f)
{
    (void)f;
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int try_ptrace(const struct fixture *f)
{
    (void)f;
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int try_kill(const struct fixture *f)
{
    (void)f;
    return kill(getppid(), 0);
}

static int try_setuid(const struct fixture *f)
{
    (void)f;
    return setuid(0);
}

static void test_forbidden_calls_kill(void **state)
{
    attempt_fn *const attempts[] = {try_execve, try_socket, try_ptrace, try_kill, try_setuid};
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        assert_killed(*state, attempts[i]);
}

static int open_outside(const struct fixture *f)
{
    (void)f;
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static int open_in_parent(const struct fixture *f)
{
    char path[160];
    snprintf(path, sizeof path, "%s/../outside", f->folder);
    return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

static void test_files_outside_the_folder_are_out_of_reach(void **state)
{
    assert_exit(*state, open_outside, EACCES);
    assert_exit(*state, open_in_parent, EACCES);
}

/* All that a worker does with a store, from opening it to closing it. */
static int use_store(const struct fixture *f)
{
    struct store *s = NULL;
    struct secbuf value = SECBUF_INIT;
    struct store_attr attr;
    int watch_fd;

    if (store_open(f->path, STORE_READ_ONLY, &s) || store_watch(s, &watch_fd) ||
        store_unlock(s, &f->credential) || store_load(s) || store_refresh(s, NULL) ||
        store_resolve(s, "secret", &attr) || store_read(s, attr.version, &value))
        return 1;
    int same = value.len == 5 && memcmp(value.data, "value", 5) == 0;
    secbuf_release(&value);
    store_close(s);
    return same ? 0 : 2;
}

static void test_a_store_can_be_used(void **state)
{
    struct store *s = open_store(*state, STORE_READ_WRITE);
    put_text(s, "secret", "value");
    store_close(s);
    assert_exit(*state, use_store, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_forbidden_calls_kill),
        store_test(test_files_outside_the_folder_are_out_of_reach),
        store_test(test_a_store_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
