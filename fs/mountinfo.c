/*
 * Parsing of /proc/self/mountinfo by libmount's rules: octal escapes in paths.
 */
#include "mountinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

static bool octal(char c)
{
    return c >= '0' && c <= '7';
}

/* Undo the kernel's escapes (\040 and the like) in place. */
static void unescape(char *text)
{
    char *out = text;
    while (*text) {
        if (text[0] == '\\' && octal(text[1]) && octal(text[2]) && octal(text[3])) {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* `36 35 98:0 /root /mount/point options - type source superoptions` */
static bool parse(char *line, struct mountinfo_entry *ret_entry, char **ret_path, char **ret_source)
{
    static const char marker[] = " - fuse." MOUNTINFO_SUBTYPE " ";
    char *save;

    ret_entry->is_secretfs = strstr(line, marker) != NULL;
    const char *id = strtok_r(line, " ", &save);
    strtok_r(NULL, " ", &save);
    const char *device = strtok_r(NULL, " ", &save);
    strtok_r(NULL, " ", &save);
    *ret_path = strtok_r(NULL, " ", &save);
    const char *field = *ret_path;
    while (field && strcmp(field, "-") != 0)
        field = strtok_r(NULL, " ", &save);
    strtok_r(NULL, " ", &save);
    *ret_source = strtok_r(NULL, " ", &save);
    if (id == NULL || *ret_path == NULL || *ret_source == NULL)
        return false;
    ret_entry->id = (int)strtol(id, NULL, 10);
    snprintf(ret_entry->device, sizeof ret_entry->device, "%s", device);
    unescape(*ret_path);
    unescape(*ret_source);
    return true;
}

/* The last line that has `id` (0: any) and `path` (NULL: any), as later mounts lie on top of
 * earlier ones; if it has `source` (NULL: any). */
static bool find(int id, const char *path, const char *source, struct mountinfo_entry *ret_entry)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool found = false;

    if (f == NULL)
        return false;
    while (getline(&line, &size, f) > 0) {
        struct mountinfo_entry entry;
        char *at;
        char *from;
        if (parse(line, &entry, &at, &from) && (id == 0 || entry.id == id) &&
            (path == NULL || strcmp(at, path) == 0)) {
            *ret_entry = entry;
            found = source == NULL || strcmp(from, source) == 0;
        }
    }
    free(line);
    fclose(f);
    return found;
}

uint64_t mountinfo_device(const struct mountinfo_entry *entry)
{
    char *end;
    unsigned number = (unsigned)strtoul(entry->device, &end, 10);
    return *end == ':' ? makedev(number, (unsigned)strtoul(end + 1, NULL, 10)) : 0;
}

bool mountinfo_find_id(int id, struct mountinfo_entry *ret_entry)
{
    return find(id, NULL, NULL, ret_entry);
}

bool mountinfo_find_path(const char *path, struct mountinfo_entry *ret_entry)
{
    return find(0, path, NULL, ret_entry);
}

bool mountinfo_find_path_of(const char *path, const char *source, struct mountinfo_entry *ret_entry)
{
    return find(0, path, source, ret_entry);
}
