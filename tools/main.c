/*
 * secretctl, the admin tool: the table of commands, and what every run of any of them begins and
 * ends with.
 *
 * Must not know what a command does. exit statuses: enum status in fail.h.
 */
#include "cli.h"
#include "commands.h"
#include "generate.h"
#include "help.h"
#include "unlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char expire_notes[] =
    "WHEN is a date such as 2027-01-31T18:00:00Z, a duration from now such as 30d, 12h or 90s, or\n"
    "'never'. From then on reading fails with EKEYEXPIRED, as with 'revoke', but a later WHEN "
    "ends\n"
    "that.\n";

/* name, function, operands from … to, prints data, commits, synopsis, options, description, notes
 */
static const struct command commands[] = {
    {"init", init_run, 0, 0, true, false,
     "[--key-file F | --passphrase | --passphrase-fd N | --recipient PUB | --unlock-command F]",
     init_options, "Make a new store, and its key file where there is none.", NULL},
    {"put", put_run, 1, CLI_MANY, true, true,
     "PATH [--file F | --generate SPEC] [--owner U] [--group G] [--mode M] [--acl SPEC] "
     "[--expires WHEN] [--description T] [--if-version N] [--force | --label L] [-p]",
     put_options, "Store a new secret, or a new version of one, from standard input.",
     generate_notes},
    {"get", get_run, 1, 1, false, false, "PATH [--version N | --label L]", get_options,
     "Write a value to standard output, byte for byte.", NULL},
    {"ls", ls_run, 0, 1, true, false, "[-l] [-R] [--deleted] [PATH]", ls_options,
     "List a directory, or a secret.", NULL},
    {"show", show_run, 1, 1, true, false, "PATH", NULL,
     "Tell all about a secret or directory but its value.", NULL},
    {"versions", versions_run, 1, 1, true, false, "PATH", NULL,
     "List the versions of a secret, the newest first.", NULL},
    {"readers", readers_run, 1, 1, true, false, "PATH", NULL,
     "Tell who has read which version of a secret, and who still holds or uses an older one.",
     "Processes are told as far as the daemons that serve the store have seen them; see "
     "secretctl(1).\n"},
    {"rollback", rollback_run, 1, 1, true, true, "PATH [--to N]", rollback_options,
     "Make an older version of a secret current again.", NULL},
    {"label", label_run, 3, 3, true, true, "PATH LABEL N", NULL,
     "Put a label on another version of a secret, or take it away.",
     "LABEL is current, previous or pending. N is the number of a version, or 'none' to take the\n"
     "label away, but for current. What is pending becomes current with "
     "'secretctl label PATH current N'.\n"},
    {"revoke", revoke_run, 1, 1, false, true, "PATH [--version N]", revoke_options,
     "Never give a version of a secret out again; without --version, all that there are.",
     "Reading fails then with EKEYREVOKED, through open descriptors and mappings too. A new "
     "version is\n"
     "not concerned: 'put' one. There is no way back.\n"},
    {"expire", expire_run, 2, 2, false, true, "PATH WHEN", NULL,
     "Set the time from which on no version of a secret is given out.", expire_notes},
    {"rotation", rotation_run, 1, 1, true, true,
     "PATH [--every D] [--generate SPEC] [--rotator NAME] [--timeout D] [--off]", rotation_options,
     "Set how a secret is rotated, or tell it.",
     "D is a duration such as 30d, 12h, 90s or 1d12h, from 1s to 3650d.\n"
     "SPEC is what 'secretctl put --help' lists.\n"},
    {"rotate", rotate_run, 0, CLI_MANY, true, true, "([--drop] PATH... | --due)", rotate_options,
     "Make a new version current, made by the secret's own generator or rotator.", NULL},
    {"mkdir", mkdir_run, 1, CLI_MANY, false, true,
     "[-p] [--owner U] [--group G] [--mode M] [--acl SPEC] PATH...", mkdir_options,
     "Make directories.", NULL},
    {"mv", mv_run, 2, 2, false, true, "PATH NEWPATH", NULL,
     "Rename a secret or directory, or move it into a directory.", NULL},
    {"rm", rm_run, 1, CLI_MANY, false, true, "[--recovery D] PATH...", rm_options,
     "Remove secrets and empty directories; 'restore' brings them back.",
     "D is a duration such as 30d, 12h or 1d12h, up to 3650d. Without it 'restore' has 30d; with 0 "
     "it\n"
     "has none, and what is removed is purged at once. When the time is over, the next command "
     "that\n"
     "writes purges it.\n"},
    {"restore", restore_run, 1, CLI_MANY, false, true, "PATH...", NULL,
     "Bring back what was last removed from a path.", NULL},
    {"purge", purge_run, 0, CLI_MANY, false, true, "[--due | PATH...]", purge_options,
     "Destroy for good what was removed from a path.",
     "Without a PATH, what earlier purges had to leave in the write-ahead log is destroyed.\n"},
    {"chown", chown_run, 2, CLI_MANY, false, true, "OWNER[:GROUP] PATH...", NULL,
     "Change the owner and group, as chown(1) does.", NULL},
    {"chmod", chmod_run, 2, CLI_MANY, false, true, "MODE PATH...", NULL,
     "Change the mode, octal or symbolic, as chmod(1) does.",
     "A MODE that begins with '-' goes behind '--'.\n"},
    {"setfacl", setfacl_run, 1, CLI_MANY, false, true, "(-m SPEC | -x SPEC | -b)... PATH...",
     setfacl_options, "Change the ACL, as setfacl(1) does.",
     "SPEC is a list such as u:alice:r,g:web:r,m::r,o::-; with -x, without the permissions.\n"},
    {"getfacl", getfacl_run, 1, CLI_MANY, true, false, "PATH...", NULL,
     "Print the ACL, as getfacl(1) does.", NULL},
    {"allow", allow_run, 1, CLI_MANY, false, true, "(--unit NAME | --exe FILE)... PATH...",
     allow_options,
     "Let only these units and executables open a secret, or what is below a directory.",
     "Each one is added to those that are allowed already. Where there are units, a program has to "
     "be of\n"
     "any of them, and where there are executables, to be any of them; and it has to be allowed by "
     "all\n"
     "directories on the way, and by owner, group, mode and ACL as ever.\n"},
    {"disallow", disallow_run, 1, CLI_MANY, false, true,
     "((--unit NAME | --exe FILE)... | --all) PATH...", disallow_options,
     "Take units and executables off the list of those that alone may open something.",
     "When the last one is gone, whoever its owner, group, mode and ACL let may open it.\n"},
    {"key", key_run, 1, 2, true, true,
     "ls | add (--new-key-file F | --new-passphrase | --new-passphrase-fd N | --recipient PUB | "
     "--new-unlock-command F) | rm ID [--rekey] | rekey [--drop]",
     key_options,
     "List the key slots, each a way to unlock the store; add or remove one; make a new root key.",
     "'add' needs a key that opens the store, and a new one; 'rm' takes a number from 'ls'. A copy "
     "of\n"
     "the store that was made before still opens with the key that is removed. 'rekey' encrypts\n"
     "everything anew: what was kept of the old keys opens nothing that is written from then "
     "on.\n"},
    {"identity", identity_run, 1, 1, true, false, "new [--out F] | show", identity_options,
     "Make an identity to unlock stores with, or tell its public key.",
     "Whoever has a store gives it a key slot for the public key: see 'secretctl key'.\n"},
    {"check", check_run, 0, 0, true, false, "", NULL,
     "Verify every record of the store, and decrypt every value.", NULL},
    {"backup", backup_run, 1, 1, false, false, "[--force] [--no-verify] FILE", backup_options,
     "Copy the store, encrypted as it is, into one file, or to standard output if FILE is '-'.",
     "The copy is verified before it gets its name, which takes the key.\n"},
    {"anchor", anchor_run, 0, 1, true, false, "[accept]", NULL,
     "Compare the store with the last state that was seen, or accept the state that it has.",
     "With 'accept', the store may be used again after an older copy was put back on purpose.\n"},
    {"audit", audit_run, 0, 1, true, false,
     "[PATH] [--file F] [--since W] [--until W] [--uid U] [--denied] [--event E]... [--follow] | "
     "verify [--file F]... | summary [--since W]",
     audit_options,
     "Show the record of who read and changed what, verify it, or summarize who reads what.",
     "W is a date such as 2026-11-24T18:00:00Z, or a duration before now such as 1h, 7d or 90s.\n"
     "Only 'verify' needs a key, and 'summary' for what nobody reads. A secret of the name "
     "'verify' or\n"
     "'summary' is '/verify' or '/summary'.\n"},
    {"status", status_run, 0, 0, true, false, "", NULL,
     "Tell about the store: its state, size, keys and mounts.", NULL},
    {"metrics", metrics_run, 0, 0, false, false, "[--output F]", metrics_options,
     "Print numbers about the store and its daemons for Prometheus.",
     "None of them tells the name of a secret.\n"},
    {"watch", watch_run, 1, CLI_WORDS, false, false,
     "PATH... [--mount M] [--delay D] [--initial | --once] "
     "(--signal SIG (--unit NAME | --pid-file F) | -- COMMAND [ARG]...)",
     watch_options, "Run a command, or send a signal, after changes of what is mounted.",
     "A PATH that begins with '/' is one of the file system, others are below the mount. No key "
     "is\n"
     "needed, and no store. SECRETFS_CHANGED tells the command which files have changed.\n"},
    {"upgrade", upgrade_run, 0, 0, false, false, "", NULL,
     "Have the daemons that serve the store go on with the program that is installed now.", NULL},
    {"help", help_run, 0, 1, false, false, "[COMMAND]", NULL, "Print help.", NULL},
    {NULL, NULL, 0, 0, false, false, NULL, NULL, NULL, NULL},
};

/*
 * A file opened later must not become somebody's standard output. What is put in a closed one's
 * place fails when used the usual way, so that it is noticed.
 */
static bool open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    }
    return true;
}

/* Nobody reads this process's memory: no core, no debugger, no /proc/PID/mem for the same user. */
static void hide_memory(struct rlimit *ret_core)
{
    struct rlimit none;

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    getrlimit(RLIMIT_CORE, ret_core);
    none = *ret_core;
    none.rlim_cur = 0; /* not rlim_max: only root could give that back to a command of 'watch' */
    setrlimit(RLIMIT_CORE, &none);
}

static enum status run(struct cli *cli)
{
    const struct task task = {"start", "secretctl"};
    enum store_err err;

    if (cli->version) {
        puts("secretctl " SECRETFS_VERSION);
        return STATUS_DONE;
    }
    if (cli->help) {
        if (cli->command)
            help_command(cli->command);
        else
            help_all(cli->commands);
        return STATUS_DONE;
    }
    err = secmem_init();
    if (err != STORE_OK)
        return fail_store(&task, err);
    return cli->command->run(cli);
}

static enum status flush_output(enum status status)
{
    const struct task task = {"write to", "standard output"};

    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (status != STATUS_DONE)
        return status;
    return fail(&task, STATUS_FAILED, NULL, "%s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct cli cli = {.commands = commands};
    enum status status;

    if (argc < 1 || !open_standard_descriptors())
        return STATUS_FAILED;
    hide_memory(&cli.core);
    cli.umask = umask(077);
    status = cli_parse(&cli, argc, argv);
    if (status == STATUS_DONE)
        status = run(&cli);
    unlock_end(&cli);
    cli_release(&cli);
    return (int)flush_output(status);
}
