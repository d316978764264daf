/*
 * secretctl backup: a copy of the store in one file, encrypted as it is.
 *
 * The copy is made and verified under a name of its own, and gets the one that was asked for only
 * when it is whole.
 */
#include "auto.h"
#include "commands.h"
#include "unlock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTION_FORCE = CLI_OPTION_FIRST, OPTION_NO_VERIFY };

const struct cli_option backup_options[] = {
    {OPTION_FORCE, "force", NULL, "replace FILE if it exists"},
    {OPTION_NO_VERIFY, "no-verify", NULL, "only copy, which takes no key"},
    {0, NULL, NULL, NULL},
};

static const char in_the_way[] = "name another file, or replace it with --force";

static enum status fail_system(const struct task *task, int error)
{
    return fail(task, STATUS_FAILED, NULL, "%s", strerror(error));
}

static enum status open_source(struct cli *cli, bool verifies)
{
    return verifies ? unlock_store(cli, STORE_READ_ONLY) : unlock_open(cli, STORE_READ_ONLY);
}

/* Make a copy at a path that ends in XXXXXX, which are replaced; on failure nothing is left. */
static enum status make_copy(const struct cli *cli, const struct task *task, char *path)
{
    int fd = mkstemp(path);

    if (fd < 0)
        return fail_system(task, errno);
    close(fd);
    enum store_err err = store_backup(cli->store, path);
    if (err == STORE_OK)
        return STATUS_DONE;
    enum status status = fail_store(task, err);
    unlink(path);
    return status;
}

/* ---- To a file ----------------------------------------------------------- */

/* Refuse what `path` must not replace. What comes there later is found by rename_to(). */
static enum status check_target(const struct cli *cli, const struct task *task, const char *path)
{
    static const char *const suffixes[] = {"-wal", "-journal"};
    struct stat there;
    struct stat store;

    if (lstat(path, &there) == 0) {
        if (S_ISDIR(there.st_mode))
            return fail(task, STATUS_FAILED, NULL, "it is a directory");
        if (stat(cli->store_path, &store) == 0 && stat(path, &there) == 0 &&
            there.st_dev == store.st_dev && there.st_ino == store.st_ino)
            return fail(task, STATUS_FAILED, "name another file", "it is the store itself");
        if (!cli_has(cli, OPTION_FORCE))
            return fail(task, STATUS_FAILED, in_the_way, "it exists already");
    }
    /* SQLite would take what an earlier file has left there for this one's. */
    for (size_t i = 0; i < 2; i++) {
        AUTO_FREE char *beside = NULL;
        if (asprintf(&beside, "%s%s", path, suffixes[i]) < 0)
            return fail_code(task, STORE_ERR_NO_MEMORY);
        if (lstat(beside, &there) == 0)
            return fail(task, STATUS_FAILED, "name another file, or remove that one",
                        "there is a '%s', which belongs to another database", beside);
    }
    return STATUS_DONE;
}

static bool rename_to(const char *from, const char *to, bool replace)
{
    if (replace)
        return rename(from, to) == 0;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS) /* of file systems that can't */
        return false;
    return link(from, to) == 0 && unlink(from) == 0;
}

/* Bring the new name to the disk, too. */
static bool sync_folder(const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    AUTO_CLOSE int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    return fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
}

static enum status backup_to_file(struct cli *cli, const struct task *task, const char *path)
{
    bool replace = cli_has(cli, OPTION_FORCE);
    AUTO_FREE char *made = NULL;
    enum status status = check_target(cli, task, path);

    if (status != STATUS_DONE)
        return status;
    if (asprintf(&made, "%s.XXXXXX", path) < 0)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    status = make_copy(cli, task, made);
    if (status != STATUS_DONE)
        return status;
    if (!rename_to(made, path, replace)) {
        status = errno == EEXIST ? fail(task, STATUS_FAILED, in_the_way, "it exists already")
                                 : fail_system(task, errno);
        unlink(made);
        return status;
    }
    return sync_folder(path) ? STATUS_DONE : fail_system(task, errno);
}

/* ---- To standard output -------------------------------------------------- */

static enum status write_out(int from)
{
    const struct task task = {"write to", "standard output"};
    static char buffer[1 << 16];
    ssize_t n;

    while ((n = read(from, buffer, sizeof buffer)) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t written = write(STDOUT_FILENO, buffer + done, (size_t)(n - done));
            if (written < 0 && errno != EINTR)
                return fail_system(&task, errno);
            done += written > 0 ? written : 0;
        }
    }
    return n == 0 ? STATUS_DONE : fail_system(&task, errno);
}

/* By way of a file without a name: what comes out was verified as a whole before. */
static enum status backup_to_output(const struct cli *cli, const struct task *task)
{
    const char *folder = getenv("TMPDIR");
    AUTO_FREE char *made = NULL;

    if (isatty(STDOUT_FILENO))
        return fail(task, STATUS_FAILED, "redirect it, or name a file", "it is a terminal");
    if (asprintf(&made, "%s/secretctl-backup.XXXXXX", folder && folder[0] ? folder : "/tmp") < 0)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    enum status status = make_copy(cli, task, made);
    if (status != STATUS_DONE)
        return status;
    AUTO_CLOSE int fd = open(made, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int error = errno;
    unlink(made);
    return fd < 0 ? fail_system(task, error) : write_out(fd);
}

enum status backup_run(struct cli *cli)
{
    const char *path = cli->operands[0];
    bool to_output = strcmp(path, "-") == 0;
    const struct task task = {"back up to", to_output ? "standard output" : path};
    enum status status = open_source(cli, !cli_has(cli, OPTION_NO_VERIFY));

    if (status != STATUS_DONE)
        return status;
    return to_output ? backup_to_output(cli, &task) : backup_to_file(cli, &task, path);
}
