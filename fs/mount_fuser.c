/*
 * The protocol between libfuse and its helper: this sends the device over the socket that
 * _FUSE_COMMFD names. Not by fuse_session_mount(), because what that and the helper have to say
 * would be lines of theirs, and because it makes the helper from a copy of our memory by fork(2).
 */
#include "mount_fuser.h"
#include "log.h"
#include "mountinfo.h"
#include "passing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER "fusermount3"
#define COMM_FD 3

/* What it says when it fails. */
struct words {
    char text[256];
};

/* Start it, with the ends of the socket (-1: none) and of the pipe that are its own. 0 or errno. */
static int start(char *const argv[], int comm_fd, int words_fd, pid_t *ret_pid)
{
    char comm[] = "_FUSE_COMMFD=3";
    char *environment[] = {comm, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;

    sigemptyset(&none); /* blocked are ours, for a descriptor of ours */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&actions);
    int error = posix_spawn_file_actions_adddup2(&actions, words_fd, STDERR_FILENO);
    if (error == 0 && comm_fd >= 0)
        error = posix_spawn_file_actions_adddup2(&actions, comm_fd, COMM_FD);
    if (error == 0)
        error = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* Its first line, if any, whatever else it writes until it ends. */
static void hear(int fd, struct words *ret_words)
{
    char buf[256];
    size_t used = 0;
    ssize_t n;

    while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR))
        for (ssize_t i = 0; i < n && used < sizeof ret_words->text - 1; i++)
            ret_words->text[used++] = buf[i];
    if (used == 0)
        return;
    ret_words->text[used] = '\0';
    ret_words->text[strcspn(ret_words->text, "\n")] = '\0';
}

/* Run it to its end. False if it did not succeed; *ret_words says why, as far as known. */
static bool run(char *const argv[], int comm_fd, struct words *ret_words)
{
    int pipe_fds[2];
    int wait_status = 0;
    pid_t pid;

    *ret_words = (struct words){"it did not say why"};
    int error = pipe2(pipe_fds, O_CLOEXEC) == 0 ? 0 : errno;
    if (error == 0) {
        error = start(argv, comm_fd, pipe_fds[1], &pid);
        close(pipe_fds[1]);
        if (error == 0)
            hear(pipe_fds[0], ret_words);
        close(pipe_fds[0]);
    }
    if (error == ENOENT)
        snprintf(ret_words->text, sizeof ret_words->text,
                 "we may not, and there is no " HELPER "; install the package fuse3");
    else if (error)
        snprintf(ret_words->text, sizeof ret_words->text, HELPER ": %s", strerror(error));
    if (error)
        return false;
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    return wait_status == 0;
}

static int receive_device(int socket)
{
    char byte;
    int fd;

    passing_receive(socket, &byte, 1, MSG_DONTWAIT, &fd);
    return fd;
}

/* Commas and backslashes of the name are escaped. Caller frees; NULL without memory. */
static char *make_options(const char *source, bool for_all)
{
    char *options = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&options, &size);

    if (f == NULL)
        return NULL;
    fputs("ro,nosuid,nodev,noexec,default_permissions,", f);
    fputs(for_all ? "allow_other," : "", f);
    fputs("subtype=" MOUNTINFO_SUBTYPE ",fsname=", f);
    for (const char *c = source; *c; c++)
        fprintf(f, *c == ',' || *c == '\\' ? "\\%c" : "%c", *c);
    if (fclose(f) == 0)
        return options;
    free(options);
    return NULL;
}

bool fuser_mount(const char *path, const char *source, bool for_all, int *ret_device_fd)
{
    char *options = make_options(source, for_all);
    char *const argv[] = {(char *)HELPER, (char *)"-o", options, (char *)"--", (char *)path, NULL};
    struct words words;
    int sockets[2];
    int fd = -1;

    if (options == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        log_system_error("mount at", path, errno);
        free(options);
        return false;
    }
    if (run(argv, sockets[1], &words))
        fd = receive_device(sockets[0]);
    if (fd < 0)
        log_error("cannot mount at '%s': %s", path, words.text);
    close(sockets[0]);
    close(sockets[1]);
    free(options);
    *ret_device_fd = fd;
    return fd >= 0;
}

bool fuser_unmount(const char *path)
{
    char *const argv[] = {(char *)HELPER, (char *)"-u", (char *)"-z",
                          (char *)"--",   (char *)path, NULL};
    struct words words;
    bool gone = run(argv, -1, &words);

    if (!gone)
        log_error("cannot umount '%s': %s", path, words.text);
    return gone;
}
