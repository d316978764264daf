/*
 * Everything is looked at once, and at the end once more what tells whether it was the same thread
 * and the same program all along: see proc(5). The caller of a request waits for its answer in the
 * kernel, so it can do neither while it is looked at; but the worker that asks is not trusted.
 */
#include "facts.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* As stat(2) has them; 0 for what isn't known. */
struct file_id {
    uint64_t device;
    uint64_t inode;
};

static bool is_same_file(struct file_id a, struct file_id b)
{
    return a.device == b.device && a.inode == b.inode;
}

/* Of an open file; of one on a filesystem elsewhere, what is known here is good enough. */
static struct file_id id_of(int fd)
{
    struct statx st;

    if (fd < 0 ||
        statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st) != 0)
        return (struct file_id){0};
    return (struct file_id){makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
}

static int open_of(uint32_t thread, const char *name, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%u/%s", (unsigned)thread, name);
    return open(path, flags | O_CLOEXEC | O_NOCTTY);
}

/* What the program of a thread is at this moment. */
static struct file_id executable_of(uint32_t thread)
{
    int fd = open_of(thread, "exe", O_PATH);
    struct file_id id = id_of(fd);

    if (fd >= 0)
        close(fd);
    return id;
}

static bool read_name(int fd, char ret_name[static IDENTITY_COMMAND + 1])
{
    memset(ret_name, 0, IDENTITY_COMMAND + 1);
    return pread(fd, ret_name, IDENTITY_COMMAND, 0) > 0;
}

/* The unit in full, and as it is on record, which has less room; the container with it. */
static void look_at_cgroup(uint32_t thread, struct caller_facts *facts)
{
    struct identity *who = &facts->caller.who;
    char text[8192];
    size_t used = 0;
    ssize_t n;
    int fd = open_of(thread, "cgroup", O_RDONLY);

    facts->unit[0] = '\0';
    if (fd < 0)
        return;
    while (used < sizeof text - 1 && (n = read(fd, text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    close(fd);
    text[used] = '\0';
    /* What was cut off may look like a name that it isn't. */
    if (used < sizeof text - 1)
        identity_parse_cgroup(text, facts->unit, sizeof facts->unit, who->container);
    snprintf(who->unit, sizeof who->unit, "%.*s", (int)sizeof who->unit - 1, facts->unit);
}

/* The path of an open file in full, "" for one that is too long, and as it is on record. */
static void read_path(int fd, struct caller_facts *facts)
{
    char link[64];
    char path[PATH_MAX + 16];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    identity_set_executable(&facts->caller.who, path);
    if (len > 0 && (size_t)len < sizeof facts->executable)
        memcpy(facts->executable, path, (size_t)len + 1);
}

static bool is_below(const char *path, const char *top)
{
    size_t len = strlen(top);
    return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/*
 * Whether `path` names that file for us. What the kernel says of an executable's path has no
 * symlinks; a process in another mount namespace may have another file there.
 */
static bool is_in_place(const char *path, struct file_id id, const struct facts_mount *mount)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};

    if (path[0] != '/' || id.inode == 0 || id.device == mount->device ||
        is_below(path, mount->path))
        return false;
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    bool same = fd >= 0 && is_same_file(id_of(fd), id);
    if (fd >= 0)
        close(fd);
    return same;
}

static void look_at_executable(uint32_t thread, const struct facts_mount *mount,
                               struct caller_facts *ret_facts)
{
    int fd = open_of(thread, "exe", O_PATH);
    struct file_id id = id_of(fd);

    ret_facts->caller.device = id.device;
    ret_facts->caller.inode = id.inode;
    ret_facts->executable[0] = '\0';
    ret_facts->in_place = false;
    if (fd < 0)
        return;
    read_path(fd, ret_facts);
    ret_facts->in_place = is_in_place(ret_facts->executable, id, mount);
    close(fd);
}

bool facts_find(uint32_t thread, const struct facts_mount *mount, struct callers_answer *ret_answer,
                int *ret_fd)
{
    struct caller_facts *facts = &ret_answer->facts;
    char name[sizeof ret_answer->name];

    int fd = open_of(thread, "comm", O_RDONLY);
    if (fd < 0)
        return false;
    bool found = read_name(fd, ret_answer->name) && identity_process_of(thread, &facts->caller.who);
    if (found) {
        look_at_executable(thread, mount, facts);
        facts->groups_known =
            identity_groups(thread, facts->groups, CALLERS_GROUPS, &facts->group_count);
        look_at_cgroup(thread, facts);
        struct file_id id = {facts->caller.device, facts->caller.inode};
        found = is_same_file(executable_of(thread), id) && read_name(fd, name) &&
                memcmp(name, ret_answer->name, sizeof name) == 0 &&
                identity_thread_start(thread) == facts->caller.who.thread_start;
    }
    if (found)
        *ret_fd = fd;
    else
        close(fd);
    return found;
}
