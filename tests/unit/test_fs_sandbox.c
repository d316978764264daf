/*
 * The cages, from inside: a child enters one and tries what it must not do. Built without
 * sanitizers only, which need calls of their own.
 */
#include "changes.h"
#include "helpers.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child does inside; its result is the child's exit status. */
typedef int attempt_fn(const struct fixture *f);

static bool is_notifier; /* its cage, not the worker's */

static bool enter(const struct fixture *f)
{
    return is_notifier ? sandbox_enter_notifier() : sandbox_enter(f->path);
}

/* The wait status of a child that enters the cage for the fixture's store and makes the attempt. */
static int inside(const struct fixture *f, attempt_fn *attempt)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !enter(f))
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

/* Calls that would start a program or process, reach another, reach the network, mount, gain
 * rights, load code into the kernel, or change a file by its name. None gets as far as its
 * arguments. */
static const long forbidden[] = {
    SYS_execve,
    SYS_execveat,
    SYS_clone,
    SYS_unshare,
    SYS_setns,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_kill,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept4,
    SYS_sendmsg,
    SYS_io_uring_setup,
    SYS_mount,
    SYS_umount2,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_pivot_root,
    SYS_chroot,
    SYS_chdir,
    SYS_setuid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    SYS_capset,
    SYS_prctl,
    SYS_seccomp,
    SYS_setrlimit,
    SYS_prlimit64,
    SYS_keyctl,
    SYS_add_key,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_init_module,
    SYS_finit_module,
    SYS_reboot,
    SYS_swapon,
    SYS_memfd_create,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_truncate,
    SYS_utimensat,
    SYS_setxattr,
    SYS_ioctl,
    SYS_dup3,
    SYS_pipe2,
    SYS_sendfile,
    SYS_copy_file_range,
};

static long tried; /* the call of the attempt under way */

static int try_call(const struct fixture *f)
{
    (void)f;
    syscall(tried, 0, 0, 0, 0, 0, 0);
    return 0;
}

static void assert_all_kill(const struct fixture *f, const long *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tried = calls[i];
        int status = inside(f, try_call);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("call %ld ended with the wait status %#x", tried, (unsigned)status);
    }
}

static void test_forbidden_calls_kill(void **state)
{
    assert_all_kill(*state, forbidden, sizeof forbidden / sizeof forbidden[0]);
}

/* It opens, renames and touches, but reads and writes no file, and makes no thread. */
static void test_the_notifier_may_do_even_less(void **state)
{
    /* But for renameat2(2), which newer C libraries use. */
    static const long more[] = {SYS_openat,   SYS_open,   SYS_read,      SYS_pread64,
                                SYS_mmap,     SYS_stat,   SYS_poll,      SYS_clone3,
                                SYS_fcntl,    SYS_tgkill, SYS_unlink,    SYS_rename,
                                SYS_pwrite64, SYS_writev, SYS_ftruncate, SYS_fsync};

    is_notifier = true;
    assert_all_kill(*state, more, sizeof more / sizeof more[0]);
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (forbidden[i] != SYS_renameat2)
            assert_all_kill(*state, &forbidden[i], 1);
    is_notifier = false;
}

/* With arguments that are good, as the program would use them. */
static int try_fork(const struct fixture *f)
{
    (void)f;
    return fork() == 0 ? 0 : 1;
}

static int try_program(const struct fixture *f)
{
    (void)f;
    return system("/bin/true");
}

static int try_traced(const struct fixture *f)
{
    (void)f;
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int try_dumpable(const struct fixture *f)
{
    (void)f;
    return prctl(PR_SET_DUMPABLE, 1);
}

static void test_no_process_no_program_no_core(void **state)
{
    assert_killed(*state, try_fork);
    assert_killed(*state, try_program);
    assert_killed(*state, try_traced);
    assert_killed(*state, try_dumpable);
}

static void *run_thread(void *arg)
{
    return arg;
}

static int make_thread(const struct fixture *f)
{
    pthread_t thread;
    void *result = NULL;
    int made = 0;
    (void)f;
    return pthread_create(&thread, NULL, run_thread, &made) == 0 &&
                   pthread_join(thread, &result) == 0 && result == &made
               ? 0
               : 1;
}

static void test_threads_can_be_made(void **state)
{
    assert_exit(*state, make_thread, 0);
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

static char outside[] = "/tmp/secretfs-outside-XXXXXX";

static int remove_outside(const struct fixture *f)
{
    (void)f;
    return unlink(outside) < 0 ? errno : 0;
}

static int list_outside(const struct fixture *f)
{
    (void)f;
    return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 ? errno : 0;
}

/* Landlock leaves it, and the filter sees no paths. */
static int ask_outside(const struct fixture *f)
{
    struct stat st;
    (void)f;
    return stat("/etc/passwd", &st) < 0 ? errno : 0;
}

static void test_files_outside_the_folder_are_out_of_reach(void **state)
{
    assert_exit(*state, open_outside, EACCES);
    assert_exit(*state, open_in_parent, EACCES);
    int fd = mkstemp(outside);
    assert_true(fd >= 0);
    close(fd);
    int status = inside(*state, remove_outside);
    assert_int_equal(unlink(outside), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EACCES);
    assert_exit(*state, list_outside, EACCES);
    assert_exit(*state, ask_outside, 0);
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
        store_test(test_the_notifier_may_do_even_less),
        store_test(test_no_process_no_program_no_core),
        store_test(test_threads_can_be_made),
        store_test(test_files_outside_the_folder_are_out_of_reach),
        store_test(test_a_store_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
