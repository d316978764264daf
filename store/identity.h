/*
 * Which process it is: what /proc tells of one, for the daemon, which notes who reads, and for
 * programs that tell of it. Never touches what the process has open, nor any file system but /proc.
 */
#ifndef STORE_IDENTITY_H
#define STORE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_COMMAND 16
#define IDENTITY_EXECUTABLE 256
#define IDENTITY_UNIT 128
#define IDENTITY_CONTAINER 16

struct identity {
    uint32_t pid;                         /* the process's, whichever thread was asked for */
    uint64_t start;                       /* when it began: ticks since boot. With pid, for good */
    uint64_t thread_start;                /* the same of the thread that was asked for */
    uint32_t uid;                         /* whose files it may open, now */
    char command[IDENTITY_COMMAND];       /* its name, as ps(1) shows it */
    char executable[IDENTITY_EXECUTABLE]; /* of a longer path the end; "" where we may not know */
    char unit[IDENTITY_UNIT];             /* of the system's manager; "" for none */
    char container[IDENTITY_CONTAINER];   /* the beginning of its id; "" for none */
};

/* Look at the process that the thread `thread` is of. False when it is gone. */
bool identity_of(uint32_t thread, struct identity *ret_identity);

/*
 * The same but for the executable, unit and container, for who looks at those itself, and then
 * whether identity_thread_start() is still the same: another process may have got the number.
 */
bool identity_process_of(uint32_t thread, struct identity *ret_identity);

/* Set the executable from its whole path. */
void identity_set_executable(struct identity *identity, const char *path);

/* The supplementary groups of a thread, `room` of them at most. False when there are more, or it is
 * gone. */
bool identity_groups(uint32_t thread, uint32_t *ret_groups, uint32_t room, uint32_t *ret_count);

/* When the thread began, in ticks since boot; 0 when it is gone. Quicker than identity_of(). */
uint64_t identity_thread_start(uint32_t thread);

/* Whether the process still runs. */
bool identity_lives(uint32_t pid, uint64_t start);

/* Whether a name has the suffix of a unit that processes run in (systemd.unit(5)). */
bool identity_is_unit(const char *name, size_t len);

/*
 * The unit and the container that /proc/PID/cgroup, `text`, speaks of. The unit is the one that the
 * system's own manager started: the first component below its slices. What is further down, whoever
 * has got a part of the tree to himself may name as he likes: what a user's manager starts is of
 * the unit user@UID.service. A longer name than there is room for is cut off.
 */
void identity_parse_cgroup(const char *text, char *ret_unit, size_t unit_room,
                           char ret_container[static IDENTITY_CONTAINER]);

#endif
