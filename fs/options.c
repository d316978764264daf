/*
 * Options as mount(8) and fstab(5) give them: -o with a comma-separated list.
 */
#include "options.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: secretfs [-f] [-o OPTIONS] STORE MOUNTPOINT\n"
    "\n"
    "Mount the encrypted store STORE as a read-only tree at MOUNTPOINT.\n"
    "\n"
    "  -f              stay in the foreground, as it always does\n"
    "  -o OPTIONS      a comma-separated list of the options below\n"
    "  -h, --help      print this text\n"
    "  -V, --version   print the version\n"
    "\n"
    "  key_file=FILE     unlock with this key file\n"
    "  identity=FILE     unlock with this identity\n"
    "  unlock_command=FILE\n"
    "                    run this program, whose standard output is the key\n"
    "  anchor=DIR        keep the store's anchor there, not in 'anchor' beside it\n"
    "  audit=FILE        record reads there, not in the file of the store; or 'none'\n"
    "  audit_sync=WHEN   make the record durable before each 'open', or in a 'batch' (default)\n"
    "  audit_optional    let reads go on when they can't be recorded\n"
    "  audit_journal     send the record's lines to the journal, or syslog, as well\n"
    "  passphrase_fd=N   unlock with the passphrase read from this descriptor\n"
    "  subdir=PATH       show this directory of the store only\n"
    "  user=USER         run what reads the store as this user, not as the store's owner\n"
    "  workers=N         threads that serve requests (default 3)\n"
    "  direct_io         keep nothing in the kernel's page cache\n"
    "  allow_other       let other users in, too, where a plain user mounts\n"
    "  allow_swap        run even where memory can't be locked against swapping\n"
    "  debug             log every request on standard error\n";

/*
 * Options of mount(8) and fstab(5) that are for others, or ask for what can't be had: the tree is
 * read-only, and without devices, set-user-id bits and programs, whatever the words.
 */
static const char *const accepted[] = {"ro",
                                       "rw",
                                       "nosuid",
                                       "suid",
                                       "nodev",
                                       "dev",
                                       "noexec",
                                       "exec",
                                       "noatime",
                                       "relatime",
                                       "strictatime",
                                       "nodiratime",
                                       "lazytime",
                                       "async",
                                       "auto",
                                       "noauto",
                                       "nofail",
                                       "users",
                                       "nouser",
                                       "owner",
                                       "group",
                                       "_netdev",
                                       "default_permissions",
                                       "defaults"};

enum mount_option {
    ANCHOR,
    AUDIT,
    AUDIT_SYNC,
    AUDIT_OPTIONAL,
    AUDIT_JOURNAL,
    KEY_FILE,
    IDENTITY,
    UNLOCK_COMMAND,
    PASSPHRASE_FD,
    SUBDIR,
    USER,
    WORKERS,
    DIRECT_IO,
    ALLOW_OTHER,
    ALLOW_SWAP,
    DEBUG
};

static char *const names[] = {
    [ANCHOR] = (char *)"anchor",
    [AUDIT] = (char *)"audit",
    [AUDIT_SYNC] = (char *)"audit_sync",
    [AUDIT_OPTIONAL] = (char *)"audit_optional",
    [AUDIT_JOURNAL] = (char *)"audit_journal",
    [KEY_FILE] = (char *)"key_file",
    [IDENTITY] = (char *)"identity",
    [UNLOCK_COMMAND] = (char *)"unlock_command",
    [PASSPHRASE_FD] = (char *)"passphrase_fd",
    [SUBDIR] = (char *)"subdir",
    [USER] = (char *)"user",
    [WORKERS] = (char *)"workers",
    [DIRECT_IO] = (char *)"direct_io",
    [ALLOW_OTHER] = (char *)"allow_other",
    [ALLOW_SWAP] = (char *)"allow_swap",
    [DEBUG] = (char *)"debug",
    NULL,
};

static bool parse_number(const char *text, long min, long max, long *ret_number)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || errno || end == text || *end || number < min ||
        number > max)
        return false;
    *ret_number = number;
    return true;
}

static bool is_accepted(const char *option)
{
    if (strncmp(option, "x-", 2) == 0)
        return true;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
        if (strcmp(option, accepted[i]) == 0)
            return true;
    return false;
}

/* A name of the password database, or a number that is in it. */
static bool find_user(const char *text, struct options *o)
{
    long number;
    const struct passwd *user =
        parse_number(text, 0, UINT32_MAX - 1, &number) ? getpwuid((uid_t)number) : getpwnam(text);
    if (user == NULL)
        return false;
    o->user = text;
    o->uid = user->pw_uid;
    o->gid = user->pw_gid;
    return true;
}

static bool takes_value(int which)
{
    return which == ANCHOR || which == AUDIT || which == AUDIT_SYNC || which == USER ||
           which == KEY_FILE || which == IDENTITY || which == UNLOCK_COMMAND ||
           which == PASSPHRASE_FD || which == SUBDIR || which == WORKERS;
}

static bool set(struct options *o, int which, char *value)
{
    long number = 0;

    if (which == USER && value == NULL)
        return true; /* fstab's: whoever likes may mount it, which is for mount(8) */
    if (takes_value(which) ? value == NULL || value[0] == '\0' : value != NULL) {
        log_error("option '%s' %s value; see 'secretfs --help'", names[which],
                  takes_value(which) ? "needs a" : "takes no");
        return false;
    }
    bool valid = true;
    if (which == ANCHOR)
        o->anchor = value;
    else if (which == AUDIT)
        o->audit = value;
    else if (which == AUDIT_SYNC) {
        o->audit_sync = strcmp(value, "open") == 0;
        valid = o->audit_sync || strcmp(value, "batch") == 0;
    } else if (which == AUDIT_OPTIONAL)
        o->audit_optional = true;
    else if (which == AUDIT_JOURNAL)
        o->audit_journal = true;
    else if (which == KEY_FILE)
        o->key_file = value;
    else if (which == IDENTITY)
        o->identity = value;
    else if (which == UNLOCK_COMMAND)
        o->unlock_command = value;
    else if (which == SUBDIR)
        o->subdir = value;
    else if (which == USER)
        valid = find_user(value, o);
    else if (which == PASSPHRASE_FD) {
        valid = parse_number(value, 0, 1 << 20, &number);
        o->passphrase_fd = (int)number;
    } else if (which == WORKERS) {
        valid = parse_number(value, 1, OPTIONS_WORKERS_MAX, &number);
        o->workers = (unsigned)number;
    } else if (which == DIRECT_IO)
        o->direct_io = true;
    else if (which == ALLOW_OTHER)
        o->allow_other = true;
    else if (which == ALLOW_SWAP)
        o->allow_swap = true;
    else if (which == DEBUG)
        o->debug = true;
    if (!valid)
        log_error("option '%s' can't be '%s'; see 'secretfs --help'", names[which], value);
    return valid;
}

static bool parse_mount_options(char *list, struct options *o)
{
    while (*list != '\0') {
        char *value = NULL;
        char *option = list;
        int which = getsubopt(&list, names, &value);
        if (which >= 0 ? !set(o, which, value) : !is_accepted(option)) {
            if (which < 0)
                log_error("unknown option '%s'; see 'secretfs --help'", option);
            return false;
        }
    }
    return true;
}

static bool is_helper(const char *name)
{
    const char *slash = strrchr(name, '/');
    return strcmp(slash ? slash + 1 : name, OPTIONS_HELPER_NAME) == 0;
}

static void refuse_option(const char *word)
{
    if (strncmp(word, "--", 2) == 0)
        log_error("unknown option '%s'; see 'secretfs --help'", word);
    else
        log_error("unknown option '-%c'; see 'secretfs --help'", optopt);
}

/* How many ways to unlock the store are named. */
static int count_keys(const struct options *o)
{
    return (o->key_file != NULL) + (o->identity != NULL) + (o->unlock_command != NULL) +
           (o->passphrase_fd >= 0);
}

enum options_result options_parse(int argc, char **argv, struct options *ret_options)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
    struct options o = {.passphrase_fd = -1,
                        .workers = OPTIONS_WORKERS_DEFAULT,
                        .background = argc > 0 && is_helper(argv[0])};
    const char *letters = o.background ? ":fsnvN:t:o:" : ":fho:V";
    bool fake = false;
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
        switch (c) {
        case 'f': /* to mount(8): all but the mount itself; else what we do anyway */
            fake = o.background;
            break;
        case 's':
        case 'n':
        case 'v':
        case 't':
            break;
        case 'N':
            log_error("cannot mount in another namespace; start secretfs there, see nsenter(1)");
            return OPTIONS_BAD;
        case 'h':
            fputs(usage, stdout);
            return OPTIONS_DONE;
        case 'V':
            puts("secretfs " SECRETFS_VERSION);
            return OPTIONS_DONE;
        case 'o':
            if (!parse_mount_options(optarg, &o))
                return OPTIONS_BAD;
            break;
        case ':':
            log_error("option '-%c' needs a value; see 'secretfs --help'", optopt);
            return OPTIONS_BAD;
        default:
            refuse_option(argv[optind - 1]);
            return OPTIONS_BAD;
        }
    }
    if (argc - optind != 2) {
        log_error("a store and a mount point are needed; see 'secretfs --help'");
        return OPTIONS_BAD;
    }
    if (count_keys(&o) > 1) {
        log_error("options 'key_file', 'passphrase_fd', 'identity' and 'unlock_command' exclude "
                  "each other; see 'secretfs --help'");
        return OPTIONS_BAD;
    }
    o.store = argv[optind];
    o.mountpoint = argv[optind + 1];
    *ret_options = o;
    return fake ? OPTIONS_DONE : OPTIONS_RUN;
}
