/*
 * Landlock (https://docs.kernel.org/userspace-api/landlock.html) and seccomp through libseccomp.
 *
 * Sanitizers need calls and files of their own when they report, so their builds go without.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_REFER /* Linux 5.19 */
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE /* 6.2 */
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/* Every right of the first version; later versions add one each. */
#define LANDLOCK_ALL_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

/* What SQLite does with a store and its log. */
#define LANDLOCK_STORE                                                                            \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE)

static __u64 handled_rights(long version)
{
    __u64 rights = LANDLOCK_ALL_V1;
    if (version >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
    return rights;
}

static bool allow_folder(int ruleset, const char *store, __u64 rights)
{
    char *folder = strndup(store, (size_t)(strrchr(store, '/') - store + 1));
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = -1};

    if (folder == NULL)
        return false;
    rule.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (rule.parent_fd < 0)
        return false;
    bool added = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(rule.parent_fd);
    return added;
}

static bool restrict_files(const char *store)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr attr = {.handled_access_fs = handled_rights(version)};

    if (version < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0)
        return false;
    __u64 rights = LANDLOCK_STORE | (version >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
    bool restricted = allow_folder(ruleset, store, rights) &&
                      syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return restricted;
}

/* What a worker does from here on: requests, SQLite, locked memory, threads, the end. Beside what
 * is seen in use are the calls that other versions of the libraries make in the place of those. */
static const int worker_calls[] = {
    /* the device, the store and its log */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(openat),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(statx),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(fchown),
    SCMP_SYS(fchmod),
    /* waiting, and the supervisor */
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(inotify_add_watch),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    /* memory */
    SCMP_SYS(brk),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(getrandom),
    /* threads once made, signals and time */
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getuid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* What the notifier does: orders, renames, touches, the lines of its log. */
static const int notifier_calls[] = {
    SCMP_SYS(recvfrom),   SCMP_SYS(sendto),          SCMP_SYS(openat2),      SCMP_SYS(renameat),
    SCMP_SYS(renameat2),  SCMP_SYS(unlinkat),        SCMP_SYS(close),        SCMP_SYS(write),
    SCMP_SYS(exit_group), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn), SCMP_SYS(fallocate),
};

/* Threads, but no process: a filter can't see the flags of clone3(2), without which glibc takes
 * clone(2). */
static int allow_threads(scmp_filter_ctx filter)
{
    int error =
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                         SCMP_A0(SCMP_CMP_MASKED_EQ, (scmp_datum_t)CLONE_THREAD, CLONE_THREAD));
    return error ? error : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static bool restrict_calls(const int *calls, size_t count, bool threads)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int error = filter ? 0 : -ENOMEM;

    for (size_t i = 0; error == 0 && i < count; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    if (error == 0 && threads)
        error = allow_threads(filter);
    if (error == 0)
        error = seccomp_load(filter);
    seccomp_release(filter);
    errno = -error;
    return error == 0;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

bool sandbox_enter(const char *store)
{
    return SANDBOX_SANITIZED ||
           (restrict_files(store) && restrict_calls(worker_calls, COUNT(worker_calls), true));
}

bool sandbox_enter_notifier(void)
{
    return SANDBOX_SANITIZED || restrict_calls(notifier_calls, COUNT(notifier_calls), false);
}
