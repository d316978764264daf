/*
 * Mount points from /proc/self/mountinfo, whose format is in proc(5): fields separated by blanks,
 * the fifth is the mount point, and type and source follow a lone dash. Blanks in fields are \ooo.
 */
#include "mounts.h"

#include "auto.h"

#include <stdbool.h>
#include <string.h>

#define MOUNT_TYPE "fuse.secretfs"

void mounts_release(struct mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++)
        free(mounts->points[i]);
    free(mounts->points);
    *mounts = (struct mounts)MOUNTS_INIT;
}

static int octal_digit(char c)
{
    return c >= '0' && c <= '7' ? c - '0' : -1;
}

/* Undo \ooo in place. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *s = text; *s; out++) {
        int value = -1;
        if (s[0] == '\\' && octal_digit(s[1]) >= 0 && octal_digit(s[2]) >= 0 &&
            octal_digit(s[3]) >= 0)
            value = octal_digit(s[1]) * 64 + octal_digit(s[2]) * 8 + octal_digit(s[3]);
        *out = value >= 0 ? (char)value : *s;
        s += value >= 0 ? 4 : 1;
    }
    *out = '\0';
}

/* Cut the line into what matters; false for a line that is something else. */
static bool split(char *line, char **ret_point, char **ret_type, char **ret_source)
{
    char *separator = strstr(line, " - ");
    char *rest = line;

    if (!separator)
        return false;
    *separator = '\0';
    for (int field = 0; field < 5; field++)
        *ret_point = strsep(&rest, " ");
    rest = separator + 3;
    *ret_type = strsep(&rest, " \n");
    *ret_source = strsep(&rest, " \n");
    return *ret_point && *ret_type && *ret_source;
}

static void add(struct mounts *mounts, const char *point)
{
    char **grown = reallocarray(mounts->points, mounts->count + 1, sizeof(*grown));
    char *copy = strdup(point);

    if (grown)
        mounts->points = grown;
    if (grown && copy)
        mounts->points[mounts->count++] = copy;
    else
        free(copy);
}

void mounts_find(const char *source, struct mounts *ret_mounts)
{
    AUTO_FCLOSE FILE *table = fopen("/proc/self/mountinfo", "re");
    AUTO_FREE char *line = NULL;
    size_t size = 0;

    while (table && getline(&line, &size, table) > 0) {
        char *point = NULL;
        char *type = NULL;
        char *from = NULL;
        if (!split(line, &point, &type, &from) || strcmp(type, MOUNT_TYPE) != 0)
            continue;
        unescape(from);
        unescape(point);
        if (strcmp(from, source) == 0)
            add(ret_mounts, point);
    }
}
