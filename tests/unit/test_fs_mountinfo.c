/*
 * Mounts as the kernel tells them: real ones, in a mount namespace of this process alone, on a
 * tmpfs of it. So nothing is left behind, whichever way the process ends. Needs root.
 */
#include "helpers.h"
#include "mountinfo.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PLACE "/mnt"

static int private_place(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("place", PLACE, "tmpfs", 0, NULL) != 0) {
        perror("a mount namespace with a tmpfs, which needs root");
        return -1;
    }
    return mkdir(PLACE "/from", 0755);
}

/* The id of the mount that `path` is on, from another source than mountinfo. */
static int mount_id(const char *path)
{
    char name[64];
    char line[128];
    int id = 0;
    int fd = open(path, O_PATH | O_CLOEXEC);

    assert_true(fd >= 0);
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(name, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "mnt_id:", 7) == 0)
            id = (int)strtol(line + 7, NULL, 10);
    fclose(file);
    close(fd);
    assert_true(id > 0);
    return id;
}

static void bind(const char *path)
{
    assert_int_equal(mount(PLACE "/from", path, NULL, MS_BIND, NULL), 0);
}

static void make_and_bind(const char *path)
{
    assert_int_equal(mkdir(path, 0755), 0);
    bind(path);
}

static void take_off(const char *path)
{
    assert_int_equal(umount2(path, MNT_DETACH), 0);
}

static void assert_not_mounted(const char *path)
{
    struct mountinfo_entry e = {.id = 4711};
    assert_false(mountinfo_find_path(path, &e));
    assert_int_equal(e.id, 4711);
}

static void assert_device(const struct mountinfo_entry *e, const char *path)
{
    struct stat st;
    char device[MOUNTINFO_DEVICE];

    assert_int_equal(stat(path, &st), 0);
    snprintf(device, sizeof device, "%u:%u", major(st.st_dev), minor(st.st_dev));
    assert_string_equal(e->device, device);
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        PLACE "/plain",          PLACE "/with space",         PLACE "/ leading and trailing ",
        PLACE "/new\nline",      PLACE "/tab\tulator",        PLACE "/back\\slash",
        PLACE "/back\\040slash", /* looks like an escape, and is none */
        PLACE "/back\\",         PLACE "/all \t\n\\ of them", PLACE "/hash#",
        PLACE "/\xc3\xa4\xff",   PLACE "/ - fuse.secretfs x",
    };
    struct mountinfo_entry e;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_not_mounted(paths[i]);
        make_and_bind(paths[i]);
        int id = mount_id(paths[i]);
        assert_true(mountinfo_find_path(paths[i], &e));
        assert_int_equal(e.id, id);
        assert_false(e.is_secretfs);
        assert_true(mountinfo_find_id(id, &e));
        assert_int_equal(e.id, id);
        assert_false(e.is_secretfs);
        assert_device(&e, PLACE);
        take_off(paths[i]);
        assert_not_mounted(paths[i]);
        assert_false(mountinfo_find_id(id, &e));
    }
}

static void test_exactly_this_path(void **state)
{
    (void)state;
    struct mountinfo_entry e;

    make_and_bind(PLACE "/exact");
    assert_int_equal(mkdir(PLACE "/exact/below", 0755), 0);
    assert_not_mounted(PLACE "/exac");
    assert_not_mounted(PLACE "/exact/");
    assert_not_mounted(PLACE "/exact/below");
    assert_not_mounted("exact");
    assert_not_mounted("");
    assert_true(mountinfo_find_path(PLACE "/exact", &e));
    assert_true(mountinfo_find_path(PLACE, &e));
    assert_int_equal(e.id, mount_id(PLACE));
    assert_true(mountinfo_find_path("/", &e));
    assert_int_equal(e.id, mount_id("/"));
    take_off(PLACE "/exact");
}

static void test_topmost(void **state)
{
    (void)state;
    struct mountinfo_entry e;
    int ids[4];

    assert_int_equal(mkdir(PLACE "/stack", 0755), 0);
    for (int i = 0; i < 4; i++) {
        bind(PLACE "/stack");
        ids[i] = mount_id(PLACE "/stack");
        for (int other = 0; other < i; other++)
            assert_int_not_equal(ids[i], ids[other]);
        assert_true(mountinfo_find_path(PLACE "/stack", &e));
        assert_int_equal(e.id, ids[i]);
        assert_int_equal(mkdir(PLACE "/between", 0755), 0); /* others come and go */
        bind(PLACE "/between");
        take_off(PLACE "/between");
        assert_int_equal(rmdir(PLACE "/between"), 0);
    }
    for (int i = 3; i >= 0; i--) {
        assert_true(mountinfo_find_path(PLACE "/stack", &e));
        assert_int_equal(e.id, ids[i]);
        for (int below = 0; below <= i; below++) {
            assert_true(mountinfo_find_id(ids[below], &e)); /* covered ones have their id */
            assert_int_equal(e.id, ids[below]);
        }
        take_off(PLACE "/stack");
    }
    assert_not_mounted(PLACE "/stack");
}

/* A FUSE mount that nobody serves: everything that touched it would wait forever. */
static void mount_fuse(const char *path, const char *type, const char *source)
{
    char data[128];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    assert_true(device >= 0);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    assert_int_equal(mount(source, path, type, 0, data), 0);
    close(device); /* which makes it a dead one */
}

static void test_type(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        const char *source;
        bool is_secretfs;
    } mounts[] = {
        {"fuse.secretfs", "/var/lib/secretfs/store.db", true},
        {"fuse.secretfs", "with space - and\nthe rest", true},
        {"fuse.secretfs2", "store", false},
        {"fuse.other", "secretfs", false},
        {"fuse.other", "x - fuse.secretfs y", false},
        {"fuse", "fuse.secretfs", false},
    };
    struct mountinfo_entry e;

    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, PLACE "/fuse %zu", i);
        mount_fuse(path, mounts[i].type, mounts[i].source);
        assert_true(mountinfo_find_path(path, &e));
        assert_int_equal(e.is_secretfs, mounts[i].is_secretfs);
        int id = e.id;
        assert_true(mountinfo_find_id(id, &e));
        assert_int_equal(e.id, id);
        assert_int_equal(e.is_secretfs, mounts[i].is_secretfs);
        assert_true(mountinfo_find_path_of(path, mounts[i].source, &e));
        assert_int_equal(e.id, id);
        assert_false(mountinfo_find_path_of(path, "another", &e));
        bind(path); /* on top of it is none */
        assert_true(mountinfo_find_path(path, &e));
        assert_int_not_equal(e.id, id);
        assert_false(e.is_secretfs);
        assert_false(mountinfo_find_path_of(path, mounts[i].source, &e));
        assert_true(mountinfo_find_path_of(path, "place", &e));
        take_off(path);
        take_off(path);
        assert_not_mounted(path);
    }
}

static void test_ids_that_are_none(void **state)
{
    (void)state;
    struct mountinfo_entry e = {.id = 4711};
    assert_false(mountinfo_find_id(INT32_MAX, &e));
    assert_false(mountinfo_find_id(-1, &e));
    assert_int_equal(e.id, 4711);
}

static void test_the_device_as_a_number(void **state)
{
    struct mountinfo_entry entry = {.device = "259:1027"};
    (void)state;
    assert_int_equal(mountinfo_device(&entry), makedev(259, 1027));
    entry.device[0] = '\0';
    assert_int_equal(mountinfo_device(&entry), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_paths),
        plain_test(test_exactly_this_path),
        plain_test(test_topmost),
        plain_test(test_type),
        plain_test(test_ids_that_are_none),
        plain_test(test_the_device_as_a_number),
    };
    return cmocka_run_group_tests(tests, private_place, NULL);
}
