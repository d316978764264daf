/*
 * The record of a store that is no more, where another store is made in its place: nobody has the
 * key of its lines, so the new one's record must not go on in its files. They keep their content
 * and get names by which they are a record of their own.
 */
#include "audit.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define OBJECT AUDIT_OBJECT

static bool has_content(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
}

static const char *base_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* Give FILE and what was rotated away from it, FILE.1 …, the names TO, TO.1 … */
static enum store_err move_all(const struct audit_files *files, const char *file, const char *to)
{
    enum store_err err = STORE_OK;
    char *name;

    for (size_t i = 0; i < files->count && !err; i++) {
        const char *from = files->names[i];
        if (!has_content(from))
            continue;
        if (asprintf(&name, "%s%s", to, base_of(from) + strlen(base_of(file))) < 0)
            return fault(STORE_ERR_NO_MEMORY, "rename", OBJECT, NULL);
        if (renameat2(AT_FDCWD, from, AT_FDCWD, name, RENAME_NOREPLACE) != 0)
            err = fault_errno(errno, "rename", OBJECT);
        free(name);
    }
    return err;
}

static enum store_err move_record(const char *file, const char *to)
{
    struct audit_files files;
    enum store_err err = audit_files_find(file, &files);

    if (!err)
        err = move_all(&files, file, to);
    audit_files_release(&files);
    return err;
}

enum store_err audit_files_any(const char *file, bool *ret_any)
{
    struct audit_files files;
    enum store_err err = audit_files_find(file, &files);

    *ret_any = false;
    for (size_t i = 0; i < files.count; i++)
        *ret_any |= has_content(files.names[i]);
    audit_files_release(&files);
    return err;
}

enum store_err audit_files_set_aside(const char *file, char **ret_former)
{
    char when[sizeof "20261124T182031"];
    struct timespec now;
    struct tm tm;
    char *former;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%S", &tm);
    if (asprintf(&former, "%s.former-%s.%06ldZ", file, when, now.tv_nsec / 1000) < 0)
        return fault(STORE_ERR_NO_MEMORY, "rename", OBJECT, NULL);
    enum store_err err = move_record(file, former);
    if (err) {
        struct store_fault kept = *store_fault();
        audit_files_put_back(file, former);
        fault_restore(&kept);
        free(former);
    } else {
        *ret_former = former;
    }
    return err;
}

bool audit_files_put_back(const char *file, const char *former)
{
    return move_record(former, file) == STORE_OK;
}
