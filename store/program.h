/*
 * Running a program of the administrator's, for whoever waits for it: a rotator, an unlock command.
 * Without a shell, in a session and process group of its own, in "/", with default signals, its
 * standard input empty. Knows no store.
 */
#ifndef STORE_PROGRAM_H
#define STORE_PROGRAM_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Start it, by posix_spawn(3), so that no copy of this process's memory is ever made.
 * in:     argv, environment  as in execve(2); argv[0] is the path of the program
 *         fds      its descriptors from 1 on; -1: the one that this process has at that number.
 *                  They must be out of the way of those numbers. All above are closed.
 * out:    ret_pid  of the process, and of its group; caller waits for it
 * returns 0 or an errno
 */
int program_spawn(char *const argv[], char *const environment[], const int *fds, size_t count,
                  pid_t *ret_pid);

/*
 * Hold back what would end this process, while a program runs that would go on in its session; what
 * is ignored stays so. Returns a descriptor that is readable once such a signal has come, or -1
 * with errno.
 * out:    ret_before  the signal mask to restore, by which what was held back comes
 */
int program_hold_signals(sigset_t *ret_before);

#endif
