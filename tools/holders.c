/*
 * /proc/PID/fdinfo has the inode number of a descriptor (since Linux 5.14), which settles most of
 * them; statx(2) without a request to the file system has the device. /proc/PID/maps has both.
 * Mount namespaces make no difference to either.
 */
#include "holders.h"

#include "auto.h"
#include "grow.h"
#include "store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Where we are in /proc. */
struct search {
    const struct holders_wanted *wanted;
    struct holders *holders;
    size_t first;  /* holder of the process that is looked at */
    char task[64]; /* its folder: PID, or PID/task/TID */
    uint32_t pid;
    bool failed; /* short of memory */
};

void holders_release(struct holders *holders)
{
    free(holders->items);
    *holders = (struct holders)HOLDERS_INIT;
}

static bool is_among(const uint64_t *numbers, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

/* The version that an inode shows, also one that was opened below @previous or @pending. */
static uint64_t version_of(uint64_t inode)
{
    return inode & ((UINT64_C(1) << STORE_ID_BITS) - 1);
}

static bool is_version(const struct search *s, uint64_t inode)
{
    return is_among(s->wanted->versions, s->wanted->version_count, version_of(inode));
}

static bool is_device(const struct search *s, unsigned major_number, unsigned minor_number)
{
    return is_among(s->wanted->devices, s->wanted->device_count,
                    makedev(major_number, minor_number));
}

/* The holder for the process that is looked at and `version`. NULL: it has gone, or no memory. */
static struct holder *holder_of(struct search *s, uint64_t version)
{
    struct holders *h = s->holders;
    struct holder holder = {.version = version};

    for (size_t i = s->first; i < h->count; i++)
        if (h->items[i].version == version)
            return &h->items[i];
    if (!identity_of(s->pid, &holder.who))
        holder.who.pid = s->pid;
    struct holder *items = grow(h->items, h->count, &h->capacity, sizeof *items);
    s->failed |= items == NULL;
    if (items == NULL)
        return NULL;
    h->items = items;
    h->items[h->count] = holder;
    return &h->items[h->count++];
}

/* ---- Descriptors --------------------------------------------------------- */

static FILE *open_in(const struct search *s, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/%s/%s", s->task, name);
    return fopen(path, "re");
}

#define FLAGS "flags:\t"
#define INODE "ino:\t"

/* What its fdinfo says of a descriptor; false when it is gone. ret_inode: 0 where that is not said.
 */
static bool read_fdinfo(const struct search *s, const char *number, unsigned *ret_flags,
                        uint64_t *ret_inode)
{
    char name[32];
    char line[256];

    snprintf(name, sizeof name, "fdinfo/%.16s", number);
    AUTO_FCLOSE FILE *file = open_in(s, name);
    *ret_flags = 0;
    *ret_inode = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, FLAGS, strlen(FLAGS)) == 0)
            *ret_flags = (unsigned)strtoul(line + strlen(FLAGS), NULL, 8);
        if (strncmp(line, INODE, strlen(INODE)) == 0)
            *ret_inode = strtoull(line + strlen(INODE), NULL, 10);
    }
    return file != NULL;
}

static void look_at_fd(struct search *s, const char *number)
{
    char path[128];
    struct statx st;
    unsigned flags;
    uint64_t inode;

    if (!read_fdinfo(s, number, &flags, &inode) || (flags & O_PATH) ||
        (inode && !is_version(s, inode)))
        return;
    snprintf(path, sizeof path, "/proc/%s/fd/%.16s", s->task, number);
    /* Asking for nothing gives the device even where the file system answers only its own user. */
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, inode ? 0 : STATX_INO, &st) != 0 ||
        !is_device(s, st.stx_dev_major, st.stx_dev_minor))
        return;
    inode = inode ? inode : st.stx_ino;
    struct holder *holder = is_version(s, inode) ? holder_of(s, version_of(inode)) : NULL;
    if (holder)
        holder->open = true;
}

/* Returns how many there are; -1 with errno where we may not look. */
static int look_at_fds(struct search *s)
{
    char path[96];
    const struct dirent *entry;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%s/fd", s->task);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return -1;
    while ((entry = readdir(folder)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        count++;
        look_at_fd(s, entry->d_name);
    }
    closedir(folder);
    return count;
}

/* ---- Mappings ------------------------------------------------------------ */

/* `start-end permissions offset major:minor inode path` */
static void look_at_mapping(struct search *s, char *line)
{
    char *rest = line;
    char *end;

    for (int skipped = 0; skipped < 3; skipped++)
        strsep(&rest, " ");
    unsigned long device = rest ? strtoul(rest, &end, 16) : 0;
    if (rest == NULL || *end != ':')
        return;
    unsigned long within = strtoul(end + 1, &end, 16);
    uint64_t inode = strtoull(end, NULL, 10);
    if (!is_version(s, inode) || !is_device(s, (unsigned)device, (unsigned)within))
        return;
    struct holder *holder = holder_of(s, version_of(inode));
    if (holder)
        holder->mapped = true;
}

static void look_at_maps(struct search *s)
{
    AUTO_FCLOSE FILE *file = open_in(s, "maps");
    AUTO_FREE char *line = NULL;
    size_t size = 0;

    while (file && getline(&line, &size, file) > 0)
        look_at_mapping(s, line);
}

/* ---- Processes ----------------------------------------------------------- */

static bool is_forbidden(int error)
{
    return error == EACCES || error == EPERM;
}

/* A first thread that has ended has nothing any more; the others of its process may have. */
static void look_at_threads(struct search *s)
{
    char path[64];
    const struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%u/task", (unsigned)s->pid);
    DIR *folder = opendir(path);
    while (folder && (entry = readdir(folder)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(s->task, sizeof s->task, "%u/task/%.16s", (unsigned)s->pid, entry->d_name);
        if (look_at_fds(s) > 0) {
            look_at_maps(s);
            break;
        }
    }
    if (folder)
        closedir(folder);
}

static void look_at_process(struct search *s, const char *name)
{
    s->pid = (uint32_t)strtoul(name, NULL, 10);
    s->first = s->holders->count;
    snprintf(s->task, sizeof s->task, "%.16s", name);
    int count = look_at_fds(s);
    if (count < 0) {
        s->holders->unseen += is_forbidden(errno);
        return;
    }
    look_at_maps(s);
    if (count == 0)
        look_at_threads(s);
}

enum store_err holders_find(const struct holders_wanted *wanted, struct holders *ret_holders)
{
    struct search s = {.wanted = wanted, .holders = ret_holders};
    const struct dirent *entry;
    DIR *proc = opendir("/proc");

    if (proc == NULL)
        return STORE_ERR_IO;
    while (!s.failed && (entry = readdir(proc)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]))
            look_at_process(&s, entry->d_name);
    closedir(proc);
    return s.failed ? STORE_ERR_NO_MEMORY : STORE_OK;
}
