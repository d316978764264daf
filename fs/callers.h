/*
 * Who calls, for the worker, which may not look at other users' processes itself: it asks the
 * supervisor (resolver.h), over a socket, by the number of the thread that a request has.
 *
 * What was answered is kept, bounded, with a descriptor of the thread's name in /proc: as long as
 * that can be read and gives the same name, the same thread goes on, and has most likely not begun
 * another program. An execve(2) that leaves the name as it was is not noticed; so whoever decides
 * by the answer asks anew.
 */
#ifndef FS_CALLERS_H
#define FS_CALLERS_H

#include "identity.h"
#include "rules.h"

#include <stdbool.h>
#include <stdint.h>

#define CALLERS_MAX 1024         /* that are kept, each with a descriptor */
#define CALLERS_GROUPS 64        /* that are told of a process */
#define CALLERS_PATIENCE_MS 100  /* how long an answer is waited for, */
#define CALLERS_DECIDING_MS 2000 /* and where its absence would refuse somebody */

/* For the record. What is not known is 0 or "". */
struct caller {
    struct identity who;
    uint64_t device; /* of the executable, as stat(2) has it; 0 where we may not know */
    uint64_t inode;
};

/* For decisions. */
struct caller_facts {
    struct caller caller;
    uint32_t groups[CALLERS_GROUPS]; /* supplementary ones, */
    uint32_t group_count;
    bool groups_known;                         /* and that these are all */
    char unit[STORE_UNIT_MAX + 1];             /* in full */
    char executable[STORE_EXECUTABLE_MAX + 1]; /* in full; "" for a longer path, too */
    bool in_place; /* that path names the executable for the supervisor, too, and now */
};

/* What goes over the socket. An answer has a descriptor of the thread's name with it, if `known`.
 */
struct callers_question {
    uint64_t number; /* no other question of any worker has the same */
    uint32_t thread;
};

struct callers_answer {
    uint64_t number; /* the question's */
    bool known;
    char name[IDENTITY_COMMAND + 1]; /* what the descriptor gave, with its newline */
    struct caller_facts facts;
};

struct callers;

/* `files`: how many descriptors may be used. NULL when out of memory. The socket stays whose it is.
 */
struct callers *callers_new(int socket, unsigned files);
void callers_free(struct callers *callers);

/*
 * Who the thread is of: as it was when the thread was first seen under its present name, or, if
 * `fresh`, now. False, with *ret_caller all zero, when it is gone, or the supervisor does not say
 * in time. thread: safe
 */
bool callers_find(struct callers *callers, uint32_t thread, bool fresh, struct caller *ret_caller);

/* What there is to know of it now. False, and nothing is known, as above. thread: safe */
bool callers_ask(struct callers *callers, uint32_t thread, struct caller_facts *ret_facts);

#endif
