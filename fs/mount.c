/*
 * Mounts by fsopen(2), fsmount(2), open_tree(2) and move_mount(2): Linux 5.12 and later.
 * https://docs.kernel.org/filesystems/mount_api.html
 */
#include "mount.h"
#include "log.h"
#include "mount_fuser.h"
#include "mountinfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SAFE_FLAGS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static bool failed(const char *action, const char *object)
{
    log_system_error(action, object, errno);
    return false;
}

/* ---- The mount point ----------------------------------------------------- */

/* The absolute path without touching the last component, which may be a dead mount. */
static char *resolve(const char *mountpoint)
{
    struct stat st;
    size_t len = strlen(mountpoint);
    char *path = NULL;

    while (len > 1 && mountpoint[len - 1] == '/')
        len--;
    const char *slash = memrchr(mountpoint, '/', len);
    const char *last = slash ? slash + 1 : mountpoint;
    size_t last_len = len - (size_t)(last - mountpoint);
    bool special = last_len == 0 || (last_len <= 2 && strspn(last, ".") >= last_len);
    if (special || (lstat(mountpoint, &st) == 0 && S_ISLNK(st.st_mode)))
        return realpath(mountpoint, NULL);

    char *parent = slash ? strndup(mountpoint, (size_t)(last - mountpoint)) : strdup(".");
    char *resolved = parent ? realpath(parent, NULL) : NULL;
    if (resolved &&
        asprintf(&path, "%s/%.*s", resolved[1] ? resolved : "", (int)last_len, last) < 0)
        path = NULL;
    free(parent);
    free(resolved);
    return path;
}

/* Plain users may umount their ordinary mounts by fusermount3 only. */
static bool take_away(const char *path)
{
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        return true;
    return errno == EPERM ? fuser_unmount(path) : failed("umount", path);
}

/* A daemon that was killed leaves a mount that answers ENOTCONN, or ECONNABORTED while it dies;
 * only our own kind is taken away.
 */
static bool clean_dead_mount(const char *path)
{
    struct statfs st;
    struct mountinfo_entry entry;

    /* Not stat(2), which the kernel may answer from its cache long after the daemon has died. */
    while (statfs(path, &st) != 0 && (errno == ENOTCONN || errno == ECONNABORTED)) {
        if (!mountinfo_find_path(path, &entry) || !entry.is_secretfs) {
            log_error("cannot mount at '%s': a dead mount of another filesystem is there; "
                      "umount it first",
                      path);
            return false;
        }
        if (!take_away(path))
            return false;
        log_line("cleaned a dead mount off '%s'", path);
    }
    return true;
}

static bool is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    bool empty = true;

    if (dir == NULL) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    while (empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

static bool refuse_second(const char *path)
{
    log_error("cannot mount at '%s': another secretfs serves there; umount it first", path);
    return false;
}

bool mount_prepare(struct mount *mount, const char *mountpoint)
{
    struct mountinfo_entry entry;

    mount->path = resolve(mountpoint);
    if (mount->path == NULL)
        return failed("mount at", mountpoint);
    if (!clean_dead_mount(mount->path))
        return false;
    if (mountinfo_find_path(mount->path, &entry) && entry.is_secretfs)
        return refuse_second(mount->path);
    mount->made = mkdir(mount->path, 0755) == 0;
    if (!mount->made && errno != EEXIST)
        return failed("make the mount point", mount->path);
    mount->point_fd = open(mount->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mount->point_fd < 0)
        return failed("mount at", mount->path);
    if (flock(mount->point_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? refuse_second(mount->path) : failed("lock", mount->path);
    if (!is_empty(mount->point_fd)) {
        log_error("cannot mount at '%s': the directory is not empty; empty it, or choose another",
                  mount->path);
        return false;
    }
    return true;
}

bool mount_serves(const char *mountpoint, const char *source)
{
    struct mountinfo_entry entry;
    struct statfs st;
    char *path = resolve(mountpoint);
    bool serves = path && mountinfo_find_path_of(path, source, &entry) && entry.is_secretfs &&
                  statfs(path, &st) == 0;
    free(path);
    return serves;
}

/* ---- The superblock ------------------------------------------------------ */

static bool set_string(int fs, const char *key, const char *value)
{
    return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) == 0;
}

static bool set_number(int fs, const char *key, unsigned number)
{
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    return set_string(fs, key, text);
}

/* Our ids, rather than 0, are those that have a number in our user namespace for sure. */
static bool configure(int fs, int device_fd, const char *source)
{
    return set_string(fs, "source", source) && set_string(fs, "subtype", MOUNTINFO_SUBTYPE) &&
           set_number(fs, "fd", (unsigned)device_fd) && set_string(fs, "rootmode", "40000") &&
           set_number(fs, "user_id", geteuid()) && set_number(fs, "group_id", getegid()) &&
           fsconfig(fs, FSCONFIG_SET_FLAG, "allow_other", NULL, 0) == 0 &&
           fsconfig(fs, FSCONFIG_SET_FLAG, "default_permissions", NULL, 0) == 0 &&
           fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0;
}

static bool open_device(struct mount *mount)
{
    mount->device_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (mount->device_fd < 0 && errno == EACCES)
        log_error("cannot open '/dev/fuse': %s; to mount in a user namespace, its mode must let "
                  "you read and write it",
                  strerror(errno));
    else if (mount->device_fd < 0)
        failed("open", "/dev/fuse");
    return mount->device_fd >= 0;
}

static bool create_ordinary(struct mount *mount, const char *source, bool for_all)
{
    struct mountinfo_entry entry;

    mount->ordinary = fuser_mount(mount->path, source, for_all, &mount->device_fd);
    mount->for_all = for_all;
    if (mount->ordinary && mountinfo_find_path(mount->path, &entry) && entry.is_secretfs)
        mount->attached = entry;
    return mount->ordinary;
}

/* The number of the superblock's device. Asking for it sends no request. */
static unsigned find_connection(int private_fd)
{
    struct statx stx;
    bool found = statx(private_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &stx) == 0;
    return found ? stx.stx_dev_minor : 0;
}

bool mount_create(struct mount *mount, const char *source, bool allow_other)
{
    int fs = fsopen("fuse", FSOPEN_CLOEXEC);
    if (fs < 0 && (errno == EPERM || errno == ENOSYS))
        return create_ordinary(mount, source, allow_other || geteuid() == 0);
    if (fs < 0)
        return failed("make", "a FUSE filesystem");
    if (open_device(mount) && configure(fs, mount->device_fd, source))
        mount->private_fd = fsmount(fs, FSMOUNT_CLOEXEC, SAFE_FLAGS);
    if (mount->private_fd >= 0)
        mount->connection = find_connection(mount->private_fd);
    if (mount->device_fd >= 0 && mount->private_fd < 0)
        failed("make", "a FUSE filesystem");
    close(fs);
    return mount->private_fd >= 0;
}

/* The mount's id, from /proc: asking the mount itself would be a request. */
static int mount_id_of(int fd)
{
    char path[64];
    char line[128];
    int id = 0;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while (id == 0 && fgets(line, sizeof line, f))
        if (strncmp(line, "mnt_id:", 7) == 0)
            id = (int)strtol(line + 7, NULL, 10);
    fclose(f);
    return id;
}

/* The public mount, of the superblock's tree. */
static bool attach_tree(struct mount *mount)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY | SAFE_FLAGS};
    int tree = open_tree(mount->private_fd, MOUNT_TREE, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (tree < 0)
        return failed("mount at", mount->path);
    bool attached = mount_setattr(tree, "", AT_EMPTY_PATH, &read_only, sizeof read_only) == 0 &&
                    move_mount(tree, "", mount->point_fd, "",
                               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
    if (attached)
        mountinfo_find_id(mount_id_of(tree), &mount->attached);
    else
        failed("mount at", mount->path);
    close(tree);
    return attached;
}

/* Which promises an ordinary mount does not keep. */
static void say_what_is_missing(const struct mount *mount)
{
    char only[64] = "";

    if (!mount->for_all)
        snprintf(only, sizeof only, "only uid %u sees it, not even root; ", geteuid());
    log_warning(
        "mounted by fusermount3: %swatchers hear of no rotation; an ACL of the top directory "
        "is not cached",
        only);
}

bool mount_attach(struct mount *mount)
{
    if (!mount->ordinary && !attach_tree(mount))
        return false;
    if (mount->ordinary)
        say_what_is_missing(mount);
    mount->made = false;
    return true;
}

/* ---- The end ------------------------------------------------------------- */

bool mount_attached(const struct mount *mount)
{
    struct mountinfo_entry entry;
    return mount->attached.id != 0 && mountinfo_find_id(mount->attached.id, &entry) &&
           strcmp(entry.device, mount->attached.device) == 0;
}

void mount_detach(struct mount *mount)
{
    struct mountinfo_entry entry;

    if (!mount_attached(mount))
        return;
    if (!mountinfo_find_path(mount->path, &entry) || entry.id != mount->attached.id)
        log_error("cannot umount '%s': something else is mounted over it", mount->path);
    else
        take_away(mount->path);
}

void mount_drop_private(struct mount *mount)
{
    if (mount->private_fd >= 0)
        close(mount->private_fd);
    mount->private_fd = -1;
}

void mount_close_device(struct mount *mount)
{
    if (mount->device_fd >= 0)
        close(mount->device_fd);
    mount->device_fd = -1;
}

bool mount_abort(const struct mount *mount)
{
    char path[32];
    int fs = fsopen("fusectl", FSOPEN_CLOEXEC);
    bool made = fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0;
    int connections = made ? fsmount(fs, FSMOUNT_CLOEXEC, SAFE_FLAGS) : -1;

    snprintf(path, sizeof path, "%u/abort", mount->connection);
    int abort = connections >= 0 ? openat(connections, path, O_WRONLY | O_CLOEXEC) : -1;
    bool aborted = abort >= 0 && write(abort, "1", 1) == 1;
    if (!aborted)
        failed("abort the connection of", mount->path);
    for (size_t i = 0; i < 3; i++) {
        int fd = (int[]){fs, connections, abort}[i];
        if (fd >= 0)
            close(fd);
    }
    return aborted;
}

void mount_release(struct mount *mount)
{
    if (mount->ordinary)
        mount_detach(mount);
    mount_drop_private(mount);
    mount_close_device(mount);
    if (mount->point_fd >= 0)
        close(mount->point_fd);
    if (mount->made)
        rmdir(mount->path);
    free(mount->path);
    *mount = (struct mount)MOUNT_INIT;
}
