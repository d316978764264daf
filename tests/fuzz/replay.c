/*
 * main() without libFuzzer: runs a target over the files of the folders that are named.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (1024 * 1024)

/* Memory of exactly the input's size, so that AddressSanitizer sees what reads beyond it. */
static int replay_file(const char *path)
{
    unsigned char *all = malloc(INPUT_MAX);
    FILE *file = fopen(path, "re");
    if (all == NULL || file == NULL) {
        perror(path);
        free(all);
        return 1;
    }
    size_t len = fread(all, 1, INPUT_MAX, file);
    fclose(file);
    unsigned char *input = realloc(all, len > 0 ? len : 1);
    if (input == NULL) {
        free(all);
        return 1;
    }
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(input, len);
    free(input);
    return 0;
}

static int replay_folder(const char *name)
{
    char path[4096];
    int replayed = 0;
    DIR *folder = opendir(name);
    const struct dirent *entry;

    if (folder == NULL) {
        perror(name);
        return 1;
    }
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        if (replay_file(path) != 0)
            break;
        replayed++;
    }
    closedir(folder);
    return entry != NULL || replayed == 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    for (int i = 1; i < argc; i++)
        failed |= replay_folder(argv[i]);
    return failed;
}
