/*
 * A reader of files, by the nanosecond: what is measured is open, fstat, read to the end, close.
 *
 *   warm READERS MS PHASE_MS NAME=LIST ...   what was read before, for MS milliseconds of each NAME
 *   cold BLOCK NAME=LIST ...                 each path once, by one reader
 *   stat BLOCK NAME=LIST ...                 each path once, fstatat only
 *   list TIMES NAME=FOLDER ...               opendir, readdir and fstatat of all, closedir
 *
 * A LIST is a file of paths, one a line. Every NAME has its turn, for PHASE_MS or BLOCK paths,
 * again and again in one process, so that whatever else the machine does hits all alike.
 */
#include "bench.h"
#include "grow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFER_BYTES (128 * 1024)
#define NAMES_MAX 16
#define MS_NS 1000000

struct place {
    const char *name;
    char *list; /* as it is named, for `list` */
    char **paths;
    size_t count;
};

static struct place places[NAMES_MAX];
static unsigned place_count;
static char buffer[BUFFER_BYTES];

/* ---- Paths --------------------------------------------------------------- */

static void load_paths(struct place *place)
{
    FILE *file = fopen(place->list, "re");
    char *line = NULL;
    size_t room = 0;
    size_t capacity = 0;
    ssize_t len;

    if (file == NULL)
        die(place->list, strerror(errno));
    while ((len = getline(&line, &room, file)) > 0) {
        char **paths = grow(place->paths, place->count, &capacity, sizeof *paths);
        line[len - 1] = '\0'; /* its newline */
        char *path = paths ? strdup(line) : NULL;
        if (path == NULL)
            die("keep the paths", strerror(errno));
        place->paths = paths;
        place->paths[place->count++] = path;
    }
    free(line);
    fclose(file);
    if (place->count == 0)
        die(place->list, "there is no path in it");
}

static void take_place(char *argument, bool has_list)
{
    char *sign = strchr(argument, '=');
    struct place *place = &places[place_count];

    if (sign == NULL || place_count == NAMES_MAX)
        die("take as a place", argument);
    *sign = '\0';
    *place = (struct place){.name = argument, .list = sign + 1};
    if (has_list)
        load_paths(place);
    place_count++;
}

/* ---- What is measured ---------------------------------------------------- */

static int64_t read_one(const char *path)
{
    struct stat st;
    ssize_t n;
    int64_t begun = now_ns();
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        die(path, strerror(errno));
    do
        n = read(fd, buffer, sizeof buffer);
    while (n > 0);
    if (n < 0 || close(fd) != 0)
        die(path, strerror(errno));
    return now_ns() - begun;
}

static int64_t stat_one(const char *path)
{
    struct stat st;
    int64_t begun = now_ns();

    if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        die(path, strerror(errno));
    return now_ns() - begun;
}

static int64_t list_one(const char *path)
{
    struct stat st;
    const struct dirent *entry;
    int64_t begun = now_ns();
    DIR *dir = opendir(path);

    if (dir == NULL)
        die(path, strerror(errno));
    while ((entry = readdir(dir)) != NULL)
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            die(entry->d_name, strerror(errno));
    closedir(dir);
    return now_ns() - begun;
}

/* ---- Warm: several readers, by time -------------------------------------- */

/* Of one reader in one place; in memory that all processes have. */
struct share {
    struct times times;
    int64_t spent_ns;
};

struct warm {
    pthread_barrier_t barrier;
    unsigned readers;
    unsigned rounds;
    int64_t phase_ns;
    struct share shares[];
};

static struct warm *warm_new(unsigned readers, int64_t ms, int64_t phase_ms)
{
    size_t size = sizeof(struct warm) + (size_t)readers * NAMES_MAX * sizeof(struct share);
    struct warm *warm = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t attr;

    if (warm == MAP_FAILED)
        die("share memory", strerror(errno));
    warm->readers = readers;
    warm->rounds = (unsigned)((ms + phase_ms - 1) / phase_ms);
    warm->phase_ns = phase_ms * MS_NS;
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&warm->barrier, &attr, readers);
    return warm;
}

static void read_for(const struct warm *warm, const struct place *place, size_t *next,
                     struct share *share)
{
    int64_t begun = now_ns();
    int64_t taken;

    do {
        times_add(&share->times, read_one(place->paths[(*next)++ % place->count]));
        taken = now_ns() - begun;
    } while (taken < warm->phase_ns);
    share->spent_ns += taken;
}

static void read_warm(struct warm *warm, unsigned reader)
{
    size_t next[NAMES_MAX];

    for (unsigned p = 0; p < place_count; p++)
        next[p] = reader; /* not all at the same file */
    for (unsigned round = 0; round < warm->rounds; round++)
        for (unsigned i = 0; i < place_count; i++) {
            unsigned p = (i + round) % place_count; /* none always comes after the same other */
            pthread_barrier_wait(&warm->barrier);
            read_for(warm, &places[p], &next[p], &warm->shares[reader * NAMES_MAX + p]);
        }
}

static void start_readers(struct warm *warm)
{
    int status;

    for (unsigned i = 0; i < warm->readers; i++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork", strerror(errno));
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* the others would wait for one that failed */
            read_warm(warm, i);
            _exit(0);
        }
    }
    while (wait(&status) > 0)
        if (status != 0)
            exit(1);
}

static void print_warm(const struct warm *warm)
{
    for (unsigned p = 0; p < place_count; p++) {
        struct times *times = times_new();
        char name[256];
        double rate = 0;
        for (unsigned r = 0; r < warm->readers; r++) {
            const struct share *share = &warm->shares[r * NAMES_MAX + p];
            times_merge(times, &share->times);
            rate += (double)share->times.count * 1e9 / (double)share->spent_ns;
        }
        snprintf(name, sizeof name, "%s rate %.0f", places[p].name, rate);
        times_print(name, times);
        free(times);
    }
}

static void measure_warm(unsigned readers, int64_t ms, int64_t phase_ms)
{
    struct warm *warm = warm_new(readers, ms, phase_ms);

    for (unsigned p = 0; p < place_count; p++)
        for (size_t i = 0; i < places[p].count; i++)
            read_one(places[p].paths[i]);
    start_readers(warm);
    print_warm(warm);
}

/* ---- Each path once ------------------------------------------------------ */

static void measure_once(size_t block, int64_t (*one)(const char *path))
{
    struct times *times[NAMES_MAX] = {NULL};
    size_t most = 0;

    for (unsigned p = 0; p < place_count; p++) {
        times[p] = times_new();
        most = places[p].count > most ? places[p].count : most;
    }
    for (size_t from = 0, turn = 0; from < most; from += block, turn++)
        for (unsigned i = 0; i < place_count; i++) {
            unsigned p = (unsigned)((i + turn) % place_count);
            for (size_t at = from; at < from + block && at < places[p].count; at++)
                times_add(times[p], one(places[p].paths[at]));
        }
    for (unsigned p = 0; p < place_count; p++)
        times_print(places[p].name, times[p]);
}

static void measure_lists(size_t count)
{
    for (unsigned p = 0; p < place_count; p++) {
        places[p].count = count;
        places[p].paths = calloc(count, sizeof *places[p].paths);
        if (places[p].paths == NULL)
            die("keep the paths", strerror(errno));
        for (size_t i = 0; i < count; i++)
            places[p].paths[i] = places[p].list;
    }
    measure_once(1, list_one);
}

static uint64_t positive(const char *text)
{
    uint64_t number = number_of(text);
    if (number == 0)
        die("do something no times", text);
    return number;
}

static bool is(const char *mode, const char *name)
{
    return strcmp(mode, name) == 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    bool warm = is(mode, "warm");
    bool list = is(mode, "list");
    int first = warm ? 5 : 3;

    if (argc <= first || (!warm && !list && !is(mode, "cold") && !is(mode, "stat"))) {
        fprintf(stderr, "usage: bench_reader warm READERS MS PHASE_MS NAME=LIST...\n"
                        "       bench_reader cold|stat BLOCK NAME=LIST...\n"
                        "       bench_reader list TIMES NAME=FOLDER...\n");
        return 2;
    }
    for (int i = first; i < argc; i++)
        take_place(argv[i], !list);
    uint64_t number = positive(argv[2]);
    if (warm)
        measure_warm((unsigned)number, (int64_t)positive(argv[3]), (int64_t)positive(argv[4]));
    else if (list)
        measure_lists(number);
    else
        measure_once(number, is(mode, "cold") ? read_one : stat_one);
    return 0;
}
