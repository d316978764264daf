/*
 * secretctl watch: follow changes of a mounted tree with a command or a signal.
 *
 * One loop over the events of the watcher, signals, and the end of the command. A change is due
 * when nothing more has happened for the delay, or for ten times that since the first event, and no
 * command is running. Opens no store and no secret.
 */
#include "auto.h"
#include "clock.h"
#include "commands.h"
#include "reaction.h"
#include "text.h"
#include "watcher.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MOUNT_DEFAULT "/run/secrets"
#define DELAY_DEFAULT_MS 200
#define DELAY_MAX_MS (24 * 3600 * 1000)
#define DELAYS_AT_MOST 10
#define RETRY_MS 1000 /* to look at what can't be looked at */

enum {
    OPTION_MOUNT = CLI_OPTION_FIRST,
    OPTION_DELAY,
    OPTION_INITIAL,
    OPTION_ONCE,
    OPTION_SIGNAL,
    OPTION_UNIT,
    OPTION_PID_FILE
};

const struct cli_option watch_options[] = {
    {OPTION_MOUNT, "mount", "M", "the mount point (default " MOUNT_DEFAULT ")"},
    {OPTION_DELAY, "delay", "D",
     "wait for this time without a change: 500ms, 2s, 1m (default 200ms)"},
    {OPTION_INITIAL, "initial", NULL, "begin with a run before any change"},
    {OPTION_ONCE, "once", NULL, "end after the first run, with its exit status"},
    {OPTION_SIGNAL, "signal", "SIG", "send this signal instead of running a command"},
    {OPTION_UNIT, "unit", "NAME", "the unit of systemd whose main process gets it"},
    {OPTION_PID_FILE, "pid-file", "F", "a file with the id of the process that gets it"},
    {0, NULL, NULL, NULL},
};

struct watch {
    struct watcher *watcher;
    struct reaction reaction;
    uint32_t delay_ms;
    bool initial;
    bool once;
    int signals;
    pid_t child;    /* 0: none runs */
    bool pending;   /* something may have changed */
    int64_t due;    /* when to look, if `pending` */
    int64_t latest; /* when to look although more happens */
    int error;      /* that was reported last of a path that can't be looked at; 0: none */
    bool done;
    int status; /* to end with, when `done` */
};

/* ---- Options --------------------------------------------------------------------------------- */

/* Returns false for anything but a number with ms, s, m or h behind it, and too long a time. */
static bool parse_delay(const char *text, uint32_t *ret_ms)
{
    static const struct {
        const char *name;
        uint32_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
    size_t digits = strspn(text, "0123456789");
    AUTO_FREE char *number = strndup(text, digits);
    uint32_t count;

    for (size_t i = 0; number && i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (!text_number(number, DELAY_MAX_MS / units[i].ms, &count))
            return false;
        *ret_ms = count * units[i].ms;
        return true;
    }
    return false;
}

static enum status parse_signal(const struct cli *cli, struct reaction *ret_reaction)
{
    const char *name = cli_value(cli, OPTION_SIGNAL);
    const char *unit = cli_value(cli, OPTION_UNIT);
    const char *pid_file = cli_value(cli, OPTION_PID_FILE);
    int signum;

    if (cli->words)
        return fail_usage("watch", "'--signal' and a command exclude each other");
    if (!unit == !pid_file)
        return fail_usage("watch", "'--signal' takes one of '--unit' and '--pid-file'");
    if (!reaction_signal(name, &signum))
        return fail_usage("watch", "unknown signal '%s'", name);
    if (unit)
        reaction_init_unit(ret_reaction, name, unit);
    else
        reaction_init_pid_file(ret_reaction, signum, pid_file);
    return STATUS_DONE;
}

static enum status parse_reaction(const struct cli *cli, struct reaction *ret_reaction)
{
    if (cli_has(cli, OPTION_SIGNAL))
        return parse_signal(cli, ret_reaction);
    if (cli_has(cli, OPTION_UNIT) || cli_has(cli, OPTION_PID_FILE))
        return fail_usage("watch", "'--unit' and '--pid-file' take '--signal'");
    if (!cli->words)
        return fail_usage("watch", "no command behind '--', and no '--signal'");
    if (!cli->words[0][0])
        return fail_usage("watch", "the command is empty");
    reaction_init_command(ret_reaction, cli->words);
    return STATUS_DONE;
}

static enum status parse(const struct cli *cli, struct watch *ret_watch)
{
    const char *delay = cli_value(cli, OPTION_DELAY);

    ret_watch->initial = cli_has(cli, OPTION_INITIAL);
    ret_watch->once = cli_has(cli, OPTION_ONCE);
    if (ret_watch->initial && ret_watch->once)
        return fail_usage("watch", "'--initial' and '--once' exclude each other");
    if (delay && !parse_delay(delay, &ret_watch->delay_ms))
        return fail_usage("watch", "'--delay' takes a time such as 500ms, 2s or 1m, up to 24h");
    return parse_reaction(cli, &ret_watch->reaction);
}

/* ---- Paths ----------------------------------------------------------------------------------- */

/* `path` below `mount`, or as it is; the caller frees it. NULL when out of memory. */
static char *absolute(const char *mount, const char *path)
{
    AUTO_FREE char *joined = NULL;
    AUTO_FREE char *plain = NULL;
    char *result = NULL;

    if (asprintf(&joined, "%s/%s", path[0] == '/' ? "" : mount, path) < 0)
        joined = NULL;
    plain = joined ? store_plain_path(joined) : NULL;
    if (plain && plain[0] == '/')
        return strdup(plain);
    if (!plain || asprintf(&result, "/%s", plain) < 0)
        return NULL;
    return result;
}

static int open_watcher(const struct cli *cli, const char *mount, struct watcher **ret_watcher)
{
    char **paths = calloc((size_t)cli->operand_count, sizeof(*paths));
    int error = paths ? 0 : ENOMEM;

    for (int i = 0; !error && i < cli->operand_count; i++) {
        paths[i] = absolute(mount, cli->operands[i]);
        if (!paths[i])
            error = ENOMEM;
    }
    if (!error)
        error = watcher_open((const char *const *)paths, (size_t)cli->operand_count, ret_watcher);
    for (int i = 0; paths && i < cli->operand_count; i++)
        free(paths[i]);
    free(paths);
    return error;
}

/* ---- Running --------------------------------------------------------------------------------- */

static void finished(struct watch *watch, int status)
{
    watch->child = 0;
    if (watch->once) {
        watch->done = true;
        watch->status = status;
    }
}

static void react(struct watch *watch, const char *changed)
{
    int status = STATUS_DONE;

    reaction_start(&watch->reaction, changed, &watch->child, &status);
    if (watch->child == 0)
        finished(watch, status);
}

static void reap(struct watch *watch)
{
    int wait_status;

    if (watch->child == 0 || waitpid(watch->child, &wait_status, WNOHANG) != watch->child)
        return;
    finished(watch, reaction_ended(&watch->reaction, wait_status));
}

/* ---- Looking --------------------------------------------------------------------------------- */

static void expect(struct watch *watch, uint32_t in_ms)
{
    int64_t now = clock_now_ms();

    if (!watch->pending)
        watch->latest = now + (int64_t)DELAYS_AT_MOST * in_ms;
    watch->pending = true;
    watch->due = now + in_ms < watch->latest ? now + in_ms : watch->latest;
}

/* Say it once, and try again. A dead mount is one of these: its daemon is started again some day.
 */
static void postpone(struct watch *watch, int error, const char *path)
{
    if (error && error != watch->error)
        fail(&(struct task){"watch", path}, STATUS_FAILED, "trying again", "%s", strerror(error));
    watch->error = error;
    if (error)
        expect(watch, RETRY_MS);
}

static void look(struct watch *watch)
{
    const char *path;
    int error;
    bool changed;

    watch->pending = false;
    changed = watcher_look(watch->watcher, &error, &path);
    if (changed) {
        AUTO_FREE char *paths = watcher_accept(watch->watcher);
        react(watch, paths ? paths : "");
    }
    postpone(watch, error, path);
}

/* What is there now is no change. Returns STATUS_FAILED where a path will never be seen. */
static enum status look_first(struct watch *watch)
{
    const char *path;
    int error;

    watcher_look(watch->watcher, &error, &path);
    if (error && error != ENOTCONN)
        return fail(&(struct task){"watch", path}, STATUS_FAILED, NULL, "%s", strerror(error));
    free(watcher_accept(watch->watcher));
    postpone(watch, error, path);
    if (watch->initial)
        react(watch, "");
    return STATUS_DONE;
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* Once asked to end, a command that runs is asked to, and waited for; asked again, it is not. */
static void take_signal(struct watch *watch, bool *in_out_ending)
{
    struct signalfd_siginfo info;

    if (read(watch->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGCHLD) {
        reap(watch);
    } else if (watch->child && !*in_out_ending) {
        *in_out_ending = true;
        kill(watch->child, SIGTERM);
    } else {
        watch->done = true;
    }
    if (*in_out_ending && watch->child == 0)
        watch->done = true;
}

static int timeout_ms(const struct watch *watch)
{
    int64_t left = watch->due - clock_now_ms();

    if (!watch->pending || watch->child)
        return -1;
    return left > 0 ? (int)left : 0;
}

static void loop(struct watch *watch)
{
    bool ending = false;

    while (!watch->done) {
        struct pollfd fds[WATCHER_FDS + 1];
        enum watcher_events events;
        watcher_poll_fds(watch->watcher, fds);
        fds[WATCHER_FDS] = (struct pollfd){.fd = watch->signals, .events = POLLIN};
        if (poll(fds, WATCHER_FDS + 1, timeout_ms(watch)) < 0)
            continue;
        if (fds[WATCHER_FDS].revents)
            take_signal(watch, &ending);
        events = watcher_take_events(watch->watcher, fds);
        /* Other people's mounts must not put off what is pending. */
        if (events == WATCHER_NAMES || (events == WATCHER_MOUNTS && !watch->pending))
            expect(watch, watch->delay_ms);
        if (!watch->done && !ending && timeout_ms(watch) == 0)
            look(watch);
    }
}

/* Signals are waited for in the loop, and come to commands as they came to us. */
static void block_signals(struct watch *watch, sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGCHLD);
    sigprocmask(SIG_BLOCK, ret_set, &watch->reaction.mask);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take the commands' statuses */
}

static enum status run(struct watch *watch)
{
    sigset_t set;
    enum status status;

    block_signals(watch, &set);
    status = look_first(watch);
    if (status != STATUS_DONE)
        return status;
    watch->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (watch->signals < 0)
        return fail(&(struct task){"watch", "signals"}, STATUS_FAILED, NULL, "%s", strerror(errno));
    loop(watch);
    close(watch->signals);
    return (enum status)watch->status;
}

enum status watch_run(struct cli *cli)
{
    struct watch watch = {.delay_ms = DELAY_DEFAULT_MS};
    const char *mount = cli_value(cli, OPTION_MOUNT);
    enum status status = parse(cli, &watch);
    int error;

    if (status != STATUS_DONE)
        return status;
    if (cli->operand_count == 0)
        return fail_usage("watch", "too few arguments");
    /* Without secrets in its memory this process needs none of what the others have, and its
     * commands must not inherit it. */
    umask(cli->umask);
    setrlimit(RLIMIT_CORE, &cli->core);
    error = open_watcher(cli, mount ? mount : MOUNT_DEFAULT, &watch.watcher);
    if (error)
        return fail(&(struct task){"watch", cli->operands[0]}, STATUS_FAILED, NULL, "%s",
                    strerror(error));
    /* A run that was interrupted before its end is no run. */
    watch.status = watch.once ? STATUS_FAILED : STATUS_DONE;
    watch.reaction.next = watch.once ? NULL : "watching goes on";
    status = run(&watch);
    watcher_close(watch.watcher);
    return status;
}
