/*
 * Starting commands by posix_spawnp(3), without a shell; reading files of process ids.
 *
 * Who can write to a pid file chooses whom we signal, so only those that root or we ourselves alone
 * can write are read.
 */
#include "reaction.h"

#include "auto.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define VARIABLE "SECRETFS_CHANGED"

/* What an environment can hold beside other things; one string of it, 128 KiB. */
#define CHANGED_MAX 65536

#define PID_TEXT 32
#define PID_LARGEST (1 << 22) /* PID_MAX_LIMIT */

#define STATUS_NO_COMMAND 127
#define STATUS_NOT_RUN 126
#define STATUS_SIGNALLED 128

bool reaction_signal(const char *text, int *ret_signum)
{
    const char *name = strncmp(text, "SIG", 3) == 0 ? text + 3 : text;
    uint32_t number;

    if (text_number(text, (uint32_t)SIGRTMAX, &number) && number > 0) {
        *ret_signum = (int)number;
        return true;
    }
    for (int signum = 1; signum < NSIG; signum++) {
        const char *known = sigabbrev_np(signum);
        if (known && strcmp(known, name) == 0) {
            *ret_signum = signum;
            return true;
        }
    }
    return false;
}

void reaction_init_command(struct reaction *reaction, char **argv)
{
    *reaction = (struct reaction){.argv = argv, .task = {"follow a change with", argv[0]}};
}

void reaction_init_unit(struct reaction *reaction, const char *signal_name, const char *unit)
{
    *reaction = (struct reaction){
        .systemctl = {"systemctl", "kill", "--kill-whom=main", "-s", signal_name, "--", unit, NULL},
        .task = {"signal", unit}};
    reaction->argv = (char **)reaction->systemctl;
}

void reaction_init_pid_file(struct reaction *reaction, int signum, const char *pid_file)
{
    *reaction = (struct reaction){
        .pid_file = pid_file, .signum = signum, .task = {"signal the process of", pid_file}};
}

__attribute__((format(printf, 2, 3))) static void report(const struct reaction *reaction,
                                                         const char *format, ...)
{
    AUTO_FREE char *reason = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&reason, format, args) < 0)
        reason = NULL;
    va_end(args);
    fail(&reaction->task, STATUS_FAILED, reaction->next, "%s", reason ? reason : "out of memory");
}

/* ---- Signals --------------------------------------------------------------------------------- */

/* The number in the first line. */
static bool parse_pid(char *text, pid_t *ret_pid)
{
    uint32_t number;

    text[strcspn(text, "\n")] = '\0';
    /* Not 0, which is everybody, and not the first process. */
    if (!text_number(text, PID_LARGEST, &number) || number <= 1)
        return false;
    *ret_pid = (pid_t)number;
    return true;
}

static bool read_pid(const struct reaction *reaction, pid_t *ret_pid)
{
    AUTO_CLOSE int fd = open(reaction->pid_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    char text[PID_TEXT] = "";
    struct stat st;

    bool failed = fd < 0 || fstat(fd, &st) != 0;
    bool regular = !failed && S_ISREG(st.st_mode);
    bool trusted = regular && (st.st_uid == 0 || st.st_uid == geteuid()) &&
                   !(st.st_mode & (S_IWGRP | S_IWOTH));
    if (trusted)
        failed = read(fd, text, sizeof text - 1) < 0;

    if (failed) {
        report(reaction, "%s", strerror(errno));
    } else if (!regular) {
        report(reaction, "it is not a regular file");
    } else if (!trusted) {
        report(reaction, "others could have written it");
    } else if (!parse_pid(text, ret_pid)) {
        report(reaction, "there is no process id in it");
    } else {
        return true;
    }
    return false;
}

static enum status send_signal(const struct reaction *reaction)
{
    pid_t pid;

    if (!read_pid(reaction, &pid))
        return STATUS_FAILED;
    if (kill(pid, reaction->signum) == 0)
        return STATUS_DONE;
    report(reaction, "process %d: %s", (int)pid, strerror(errno));
    return STATUS_FAILED;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static int spawn(const struct reaction *reaction, pid_t *ret_child)
{
    posix_spawnattr_t attributes;
    int error = posix_spawnattr_init(&attributes);

    if (error)
        return error;
    error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (!error)
        error = posix_spawnattr_setsigmask(&attributes, &reaction->mask);
    if (!error)
        error =
            posix_spawnp(ret_child, reaction->argv[0], NULL, &attributes, reaction->argv, environ);
    posix_spawnattr_destroy(&attributes);
    return error;
}

void reaction_start(const struct reaction *reaction, const char *changed, pid_t *ret_child,
                    int *ret_status)
{
    int error;

    *ret_child = 0;
    if (!reaction->argv) {
        *ret_status = (int)send_signal(reaction);
        return;
    }
    if (setenv(VARIABLE, strlen(changed) <= CHANGED_MAX ? changed : "", 1) != 0)
        error = errno;
    else
        error = spawn(reaction, ret_child);
    if (!error)
        return;
    *ret_child = 0;
    *ret_status = error == ENOENT ? STATUS_NO_COMMAND : STATUS_NOT_RUN;
    report(reaction, "%s", strerror(error));
}

int reaction_ended(const struct reaction *reaction, int wait_status)
{
    int signum;

    if (WIFEXITED(wait_status)) {
        int status = WEXITSTATUS(wait_status);
        if (status != 0)
            report(reaction, "it ended with exit status %d", status);
        return status;
    }
    signum = WTERMSIG(wait_status);
    report(reaction, "it was ended by signal %d (%s)", signum, strsignal(signum));
    return STATUS_SIGNALLED + signum;
}
