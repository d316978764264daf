/*
 * What secretctl watch does about a change: a command, or a signal to a service.
 *
 * Reports its own failures. Must not know what is watched.
 */
#ifndef TOOLS_REACTION_H
#define TOOLS_REACTION_H

#include "fail.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#define REACTION_WORDS 8

/* Stays where it was initialised: argv may point into it. */
struct reaction {
    char **argv;          /* to run; NULL: send `signum` to the process that pid_file names */
    const char *pid_file; /* or NULL */
    int signum;
    struct task task;
    const char *systemctl[REACTION_WORDS]; /* what argv is for a unit */
    sigset_t mask;                         /* of signals, that commands get */
    const char *next;                      /* of what is reported; NULL: nothing */
};

/* A signal by its name, with or without SIG, or by its number. False for anything else. */
bool reaction_signal(const char *text, int *ret_signum);

/* Make it run a command; send a signal to a systemd unit; or to the process in a file. */
void reaction_init_command(struct reaction *reaction, char **argv);
void reaction_init_unit(struct reaction *reaction, const char *signal_name, const char *unit);
void reaction_init_pid_file(struct reaction *reaction, int signum, const char *pid_file);

/*
 * Begin. The command finds `changed` in its environment, as SECRETFS_CHANGED.
 * out: ret_child   the command's process, to wait for; 0: it is done already
 * out: ret_status  of what is done already; an exit status of a command that can't be run: 127
 * where there is none, else 126
 */
void reaction_start(const struct reaction *reaction, const char *changed, pid_t *ret_child,
                    int *ret_status);

/* The command has ended, with `wait_status` of waitpid(2). Returns its status as a shell has it. */
int reaction_ended(const struct reaction *reaction, int wait_status);

#endif
