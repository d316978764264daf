/*
 * See identity.h, and proc(5) for the formats. What a process can choose itself, its name and path,
 * is taken as it is: bytes, to be escaped by whoever prints them.
 */
#include "identity.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTAINER_DIGITS 64 /* of the id that container engines put into a cgroup's name */
#define CONTAINER_SHOWN 12  /* as many as they show themselves */

#define CUT "..." /* stands for the beginning of a path */

/* Read a file of /proc; what does not fit is left. Returns false when there is none. */
static bool read_file(uint32_t pid, const char *name, char *ret_text, size_t room)
{
    char path[64];
    size_t used = 0;
    ssize_t n = 0;

    snprintf(path, sizeof path, "/proc/%u/%s", (unsigned)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    while (used < room - 1 && (n = read(fd, ret_text + used, room - 1 - used)) > 0)
        used += (size_t)n;
    close(fd);
    ret_text[used] = '\0';
    return n >= 0 && used > 0;
}

/* What of /proc/PID/stat matters. */
struct process_state {
    char state;
    long threads;
    uint64_t start;
};

/* What stands behind `count` more blanks or tabs; the end of the text where there are fewer. */
static const char *skip_fields(const char *text, int count)
{
    for (; count > 0; count--) {
        text += strcspn(text, " \t");
        text += *text != '\0';
    }
    return text;
}

/* The name stands in parentheses, and may hold some. */
static bool read_state(uint32_t pid, struct process_state *ret_state)
{
    char text[1024];
    const char *rest = read_file(pid, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;
    const char *start = rest ? skip_fields(rest, 20) : "";

    if (*start == '\0')
        return false;
    ret_state->state = *skip_fields(rest, 1);
    ret_state->threads = strtol(skip_fields(rest, 18), NULL, 10);
    ret_state->start = strtoull(start, NULL, 10);
    return true;
}

/* A first thread that has ended is a zombie while others of its process go on. */
static bool runs(const struct process_state *state)
{
    return (state->state != 'Z' && state->state != 'X') || state->threads > 1;
}

uint64_t identity_thread_start(uint32_t thread)
{
    struct process_state state;
    return thread && read_state(thread, &state) ? state.start : 0;
}

bool identity_lives(uint32_t pid, uint64_t start)
{
    struct process_state state;
    return pid && read_state(pid, &state) && state.start == start && runs(&state);
}

/* ---- Units and containers ------------------------------------------------ */

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len > end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

bool identity_is_unit(const char *name, size_t len)
{
    static const char *const kinds[] = {".service", ".scope", ".socket", ".mount", ".swap"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (ends_with(name, len, kinds[i]))
            return true;
    return false;
}

/* Where the digits of a container's id begin in a name such as `docker-<id>.scope`; NULL: nowhere.
 */
static const char *find_container(const char *name, size_t len)
{
    size_t digits = 0;

    for (size_t i = 0; i < len; i++) {
        digits = isxdigit((unsigned char)name[i]) ? digits + 1 : 0;
        if (digits == CONTAINER_DIGITS)
            return name + i + 1 - CONTAINER_DIGITS;
    }
    return NULL;
}

/* Where the path of a line of `hierarchy` begins, such as `0::/path` or `1:name=systemd:/path`;
 * NULL in a line of another one. What stands behind the second colon may be anything. */
static const char *path_of_line(const char *line, const char *hierarchy)
{
    size_t number = strspn(line, "0123456789");
    size_t len = strlen(hierarchy);
    bool same = number > 0 && strncmp(line + number, hierarchy, len) == 0;
    return same ? line + number + len : NULL;
}

/* The line that has the unit: that of the second version's hierarchy, or of systemd's own. */
static const char *find_path(const char *text)
{
    const char *found = NULL;

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *named = path_of_line(line, ":name=systemd:");
        if (named)
            return named;
        if (found == NULL && strncmp(line, "0::", 3) == 0)
            found = line + 3;
    }
    return found;
}

void identity_parse_cgroup(const char *text, char *ret_unit, size_t unit_room,
                           char ret_container[static IDENTITY_CONTAINER])
{
    const char *at = find_path(text);
    bool in_slices = true;

    ret_unit[0] = ret_container[0] = '\0';
    while (at && *at == '/') {
        at++;
        size_t len = strcspn(at, "/\n");
        const char *container = find_container(at, len);
        if (container)
            snprintf(ret_container, IDENTITY_CONTAINER, "%.*s", CONTAINER_SHOWN, container);
        if (in_slices && identity_is_unit(at, len))
            snprintf(ret_unit, unit_room, "%.*s", (int)len, at);
        in_slices &= ends_with(at, len, ".slice");
        at += len;
    }
}

/* ---- The whole ----------------------------------------------------------- */

void identity_set_executable(struct identity *identity, const char *path)
{
    size_t len = strlen(path);

    if (len < IDENTITY_EXECUTABLE) {
        memcpy(identity->executable, path, len + 1);
        return;
    }
    memcpy(identity->executable, CUT, sizeof CUT - 1);
    memcpy(identity->executable + sizeof CUT - 1, path + len - (IDENTITY_EXECUTABLE - sizeof CUT),
           IDENTITY_EXECUTABLE - sizeof CUT + 1);
}

static void read_executable(uint32_t thread, struct identity *identity)
{
    char link[64];
    char path[4096 + 16];

    snprintf(link, sizeof link, "/proc/%u/exe", (unsigned)thread);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    identity_set_executable(identity, path);
}

/* The process that a thread is of, and its user; 0 when it is gone. */
static uint32_t process_of(uint32_t thread, uint32_t *ret_uid)
{
    char text[1024];
    bool read = read_file(thread, "status", text, sizeof text);
    const char *process = read ? strstr(text, "\nTgid:") : NULL;
    const char *user = read ? strstr(text, "\nUid:") : NULL;

    if (process == NULL || user == NULL)
        return 0;
    *ret_uid = (uint32_t)strtoul(skip_fields(user, 4), NULL, 10); /* the one for files */
    return (uint32_t)strtoul(process + strlen("\nTgid:"), NULL, 10);
}

bool identity_groups(uint32_t thread, uint32_t *ret_groups, uint32_t room, uint32_t *ret_count)
{
    char text[4096]; /* of more groups than fit it would be the beginning only */
    bool read = read_file(thread, "status", text, sizeof text);
    const char *at = read ? strstr(text, "\nGroups:\t") : NULL;
    uint32_t count = 0;

    if (at == NULL)
        return false;
    at += strlen("\nGroups:\t");
    while (*at >= '0' && *at <= '9' && count < room) {
        char *end;
        ret_groups[count++] = (uint32_t)strtoul(at, &end, 10);
        at = end + (*end == ' ');
    }
    *ret_count = count;
    return *(at + strspn(at, " ")) == '\n';
}

bool identity_process_of(uint32_t thread, struct identity *ret_identity)
{
    struct identity found = {.thread_start = identity_thread_start(thread)};
    struct process_state state;

    found.pid = found.thread_start ? process_of(thread, &found.uid) : 0;
    if (found.pid == 0 || !read_state(found.pid, &state) || !runs(&state))
        return false;
    found.start = state.start;
    if (read_file(found.pid, "comm", found.command, sizeof found.command))
        found.command[strcspn(found.command, "\n")] = '\0';
    *ret_identity = found;
    return true;
}

bool identity_of(uint32_t thread, struct identity *ret_identity)
{
    struct identity found;
    char cgroup[4096];

    if (!identity_process_of(thread, &found))
        return false;
    read_executable(thread, &found); /* the first one may have ended */
    if (read_file(thread, "cgroup", cgroup, sizeof cgroup))
        identity_parse_cgroup(cgroup, found.unit, sizeof found.unit, found.container);
    /* Another process may have got the number meanwhile. */
    if (identity_thread_start(thread) != found.thread_start)
        return false;
    *ret_identity = found;
    return true;
}
