/*
 * Finding the record's file. Its folder may belong to somebody with fewer rights than this process:
 * no link is followed, and only a file of somebody who could write the store anyway is written.
 */
#include "audit.h"
#include "audit_line.h"
#include "audit_tail.h"
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OBJECT AUDIT_OBJECT
#define DEFAULT_STORE "/var/lib/secretfs/store.db"
#define DEFAULT_FOLDER "/var/log/secretfs"
#define DEFAULT_FILE DEFAULT_FOLDER "/audit.jsonl"
#define BESIDE "-audit.jsonl" /* behind the store's name, as SQLite names its own files */
#define JUST_NOW_S 10         /* a file that was rotated away, or written to since, so long ago */
#define FILE_FLAGS (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define BEGIN_BYTES 256 /* that hold the number of a file's first line */

char *audit_file_name(const char *path, const char *file)
{
    char *name = NULL;

    if (file)
        return strdup(file);
    if (strcmp(path, DEFAULT_STORE) == 0)
        return strdup(DEFAULT_FILE);
    return asprintf(&name, "%s" BESIDE, path) < 0 ? NULL : name;
}

/* ---- Files that were rotated away ---------------------------------------- */

struct found {
    char *name;
    uint64_t first;    /* the number of its first line */
    struct timespec t; /* when it was last written to */
};

struct found_list {
    struct found *items;
    size_t count;
};

static void found_release(struct found_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].name);
    free(list->items);
    *list = (struct found_list){0};
}

/* "audit.jsonl.1", "audit.jsonl-20261124": digits, with dots and dashes between them. */
static bool is_rotated(const char *entry, const char *base)
{
    size_t len = strlen(base);
    const char *end = entry + len;

    return strncmp(entry, base, len) == 0 && (*end == '.' || *end == '-') &&
           end[strspn(end, "0123456789.-")] == '\0' && strpbrk(end, "0123456789") != NULL;
}

/* False where the file has no line, or can't be read. */
static bool look_at(int fd, struct found *ret)
{
    struct stat st;
    char begin[BEGIN_BYTES];
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, begin, sizeof begin, 0) : 0;

    ret->t = st.st_ctim;
    ret->first = n > 0 ? audit_first_number(begin, (size_t)n) : 0;
    return ret->first > 0;
}

static enum store_err add(struct found_list *list, int folder, const char *directory,
                          const char *entry)
{
    struct found found = {0};
    int fd = openat(folder, entry, O_RDONLY | FILE_FLAGS);
    bool any = fd >= 0 && look_at(fd, &found);

    if (fd >= 0)
        close(fd);
    if (!any)
        return STORE_OK;
    struct found *grown = reallocarray(list->items, list->count + 1, sizeof *grown);
    if (grown)
        list->items = grown;
    if (grown == NULL || asprintf(&found.name, "%s/%s", directory, entry) < 0)
        return fault(STORE_ERR_NO_MEMORY, "find", OBJECT, NULL);
    list->items[list->count++] = found;
    return STORE_OK;
}

static int by_order(const void *a, const void *b)
{
    const struct found *x = a;
    const struct found *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->t.tv_sec != y->t.tv_sec)
        return x->t.tv_sec < y->t.tv_sec ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The folder of a file, which the caller frees, and the file's name in it. */
static char *folder_of(const char *file, const char **ret_base)
{
    const char *slash = strrchr(file, '/');

    *ret_base = slash ? slash + 1 : file;
    if (slash == NULL)
        return strdup(".");
    return slash == file ? strdup("/") : strndup(file, (size_t)(slash - file));
}

static enum store_err find_in(DIR *dir, const char *directory, const char *base,
                              struct found_list *ret)
{
    enum store_err err = STORE_OK;
    const struct dirent *entry;

    while (!err && (entry = readdir(dir)) != NULL)
        if (is_rotated(entry->d_name, base))
            err = add(ret, dirfd(dir), directory, entry->d_name);
    if (ret->count > 1)
        qsort(ret->items, ret->count, sizeof *ret->items, by_order);
    return err;
}

/* The files that were rotated away, the oldest first. A folder that can't be read has none. */
static enum store_err find_rotated(const char *file, struct found_list *ret)
{
    const char *base;
    char *directory = folder_of(file, &base);
    enum store_err err = STORE_OK;

    *ret = (struct found_list){0};
    if (directory == NULL)
        return fault(STORE_ERR_NO_MEMORY, "find", OBJECT, NULL);
    DIR *dir = opendir(directory);
    if (dir) {
        err = find_in(dir, directory, base, ret);
        closedir(dir);
    }
    free(directory);
    if (err)
        found_release(ret);
    return err;
}

enum store_err audit_files_find(const char *file, struct audit_files *ret_files)
{
    struct found_list list;
    enum store_err err = find_rotated(file, &list);

    *ret_files = (struct audit_files){0};
    if (err)
        return err;
    ret_files->names = calloc(list.count + 1, sizeof *ret_files->names);
    char *last = strdup(file);
    if (ret_files->names == NULL || last == NULL) {
        free(last);
        found_release(&list);
        return fault(STORE_ERR_NO_MEMORY, "find", OBJECT, NULL);
    }
    for (size_t i = 0; i < list.count; i++) {
        ret_files->names[ret_files->count++] = list.items[i].name;
        list.items[i].name = NULL;
    }
    ret_files->names[ret_files->count++] = last;
    found_release(&list);
    return STORE_OK;
}

void audit_files_release(struct audit_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->names[i]);
    free(files->names);
    *files = (struct audit_files){0};
}

bool audit_file_place(const char *path, const char *file, char ret_place[static PATH_MAX])
{
    const char *base;
    char *name = audit_file_name(path, file);
    char *directory = name ? folder_of(name, &base) : NULL;
    char *real = directory ? realpath(directory, NULL) : NULL;
    int len = real ? snprintf(ret_place, PATH_MAX, "%s/%s", real[1] ? real : "", base) : PATH_MAX;

    free(real);
    free(directory);
    free(name);
    return len < PATH_MAX;
}

/* ---- Opening ------------------------------------------------------------- */

/* What root makes is the store's owner's. */
static bool give_to(int fd, const struct stat *owner)
{
    return geteuid() != 0 || fchown(fd, owner->st_uid, owner->st_gid) == 0;
}

static void make_default_folder(const char *name, const struct stat *owner)
{
    if (strcmp(name, DEFAULT_FILE) != 0 || mkdir(DEFAULT_FOLDER, 0700) != 0)
        return;
    int fd = open(DEFAULT_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (!give_to(fd, owner))
        rmdir(DEFAULT_FOLDER);
    close(fd);
}

/* Make the file, empty; -1 with errno. */
static int make_file(const char *name, const struct stat *owner)
{
    make_default_folder(name, owner);
    int fd = open(name, O_RDWR | O_APPEND | O_CREAT | O_EXCL | FILE_FLAGS, 0600);
    if (fd >= 0 && !give_to(fd, owner)) {
        int kept = errno;
        close(fd);
        unlink(name);
        errno = kept;
        return -1;
    }
    return fd;
}

/* Whoever could put a link to another's file there must not have it written. */
static enum store_err check_file(int fd, const struct stat *owner)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return fault_errno(errno, "open", OBJECT);
    bool ours = st.st_uid == 0 || st.st_uid == owner->st_uid || st.st_uid == geteuid();
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1 || !ours || (st.st_mode & 022))
        return fault(STORE_ERR_DENIED, "open", OBJECT,
                     "it is not a regular file that only root or the store's owner can write");
    return STORE_OK;
}

static bool is_recent(const struct found *found)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return found->t.tv_sec >= now.tv_sec - JUST_NOW_S && found->t.tv_sec <= now.tv_sec;
}

/* Open the file, one that was just rotated away, or a new one; -1 with errno. */
static int open_or_make(const char *name, const struct found_list *rotated,
                        enum audit_missing missing, const struct stat *owner)
{
    const struct found *newest = rotated->count ? &rotated->items[rotated->count - 1] : NULL;
    int fd = open(name, O_RDWR | O_APPEND | FILE_FLAGS);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (missing != AUDIT_MISSING_BEGINS && newest && is_recent(newest))
        return open(newest->name, O_RDWR | O_APPEND | FILE_FLAGS);
    if (missing == AUDIT_MISSING_FAILS) {
        errno = ENOENT;
        return -1;
    }
    fd = make_file(name, owner);
    if (fd < 0 && errno == EEXIST) /* others were first */
        fd = open(name, O_RDWR | O_APPEND | FILE_FLAGS);
    return fd;
}

/* Where the newest file that was rotated away ends. */
static enum store_err find_known(const struct found_list *rotated, struct audit_head *ret_known)
{
    uint64_t end;
    bool found;

    *ret_known = (struct audit_head){0};
    if (rotated->count == 0)
        return STORE_OK;
    int fd = open(rotated->items[rotated->count - 1].name, O_RDONLY | FILE_FLAGS);
    if (fd < 0)
        return fault_errno(errno, "open", OBJECT);
    enum store_err err = audit_tail_find(fd, &found, ret_known, &end);
    close(fd);
    return err;
}

static enum store_err open_named(const char *name, const struct stat *owner,
                                 enum audit_missing missing, int *ret_fd,
                                 struct audit_head *ret_known)
{
    struct found_list rotated;
    enum store_err err = find_rotated(name, &rotated);

    if (err)
        return err;
    int fd = open_or_make(name, &rotated, missing, owner);
    err = fd < 0 ? fault_errno(errno, "open", OBJECT) : check_file(fd, owner);
    if (!err)
        err = find_known(&rotated, ret_known);
    found_release(&rotated);
    if (!err)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return err;
}

enum store_err audit_file_open(const char *path, const char *file, enum audit_missing missing,
                               int *ret_fd, struct audit_head *ret_known)
{
    struct stat owner;
    char *name = audit_file_name(path, file);

    if (name == NULL)
        return fault(STORE_ERR_NO_MEMORY, "open", OBJECT, NULL);
    enum store_err err = stat(path, &owner) == 0
                             ? open_named(name, &owner, missing, ret_fd, ret_known)
                             : fault_errno(errno, "open", OBJECT);
    free(name);
    return err;
}
