/*
 * secretctl metrics: numbers for Prometheus, in its text format
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). No name of a secret is among
 * them: whoever collects them may not know any.
 */
#include "auto.h"
#include "clock.h"
#include "commands.h"
#include "control.h"
#include "listing.h"
#include "schedule.h"
#include "unlock.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DAEMON_TIMEOUT_MS 1000
#define DAEMONS_MAX 64
#define SECOND_NS 1000000000
#define DAY_S 86400

enum { OPTION_OUTPUT = CLI_OPTION_FIRST };

const struct cli_option metrics_options[] = {
    {OPTION_OUTPUT, "output", "F", "replace this file by them, instead of printing them"},
    {0, NULL, NULL, NULL},
};

/* Everything there is to tell. */
struct metrics {
    FILE *out;
    const char *path; /* the store's */
    enum status problem;
    struct store_stats stats;
    uint64_t expired;
    uint64_t expiring[3]; /* within so many days: */
    int64_t next_expiry_ns;
    uint64_t rotations;
    uint64_t overdue;
    size_t count;
    struct control_reply daemons[DAEMONS_MAX];
};

static const unsigned expiring_days[] = {1, 7, 30};

/* ---- The store ----------------------------------------------------------- */

static void count_expiry(struct metrics *m, int64_t expires_ns, int64_t now_ns)
{
    if (expires_ns == 0)
        return;
    if (expires_ns <= now_ns) {
        m->expired++;
        return;
    }
    if (m->next_expiry_ns == 0 || expires_ns < m->next_expiry_ns)
        m->next_expiry_ns = expires_ns;
    for (size_t i = 0; i < 3; i++)
        m->expiring[i] += (expires_ns - now_ns) / SECOND_NS <= (int64_t)expiring_days[i] * DAY_S;
}

static bool count_rotation(void *arg, uint64_t node, const struct store_details *details)
{
    struct metrics *m = arg;
    (void)node;

    m->rotations++;
    m->overdue += schedule_of(details).overdue;
    return true;
}

static enum store_err gather(struct store *store, struct metrics *m)
{
    LISTING_AUTO struct listing listing = LISTING_INIT;
    int64_t now_ns = clock_ns(CLOCK_REALTIME);

    store_stats(store, &m->stats);
    enum store_err err = listing_directory(store, "", STORE_ROOT_ID, true, &listing);
    for (size_t i = 0; err == STORE_OK && i < listing.count; i++)
        count_expiry(m, listing.items[i].attr.expires_ns, now_ns);
    return err == STORE_OK ? store_each_rotation(store, count_rotation, m) : err;
}

static void add_daemon(void *arg, const struct control_reply *reply)
{
    struct metrics *m = arg;

    if (m->count < DAEMONS_MAX)
        m->daemons[m->count++] = *reply;
}

/* ---- The text ------------------------------------------------------------ */

static void head(const struct metrics *m, const char *name, const char *type, const char *help)
{
    fprintf(m->out, "# HELP secretfs_%s %s\n# TYPE secretfs_%s %s\n", name, help, name, type);
}

static void print_label(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            putc('\\', out);
        if (*value == '\n')
            fputs("\\n", out);
        else
            putc(*value, out);
    }
    putc('"', out);
}

/* The beginning of a line, up to the blank before the number. `more` are further labels. */
__attribute__((format(printf, 4, 5))) static void begin(const struct metrics *m, const char *name,
                                                        const struct control_reply *daemon,
                                                        const char *more, ...)
{
    va_list arguments;

    fprintf(m->out, "secretfs_%s{", name);
    print_label(m->out, "store", m->path);
    if (daemon) {
        putc(',', m->out);
        print_label(m->out, "mount", daemon->mountpoint);
    }
    va_start(arguments, more);
    vfprintf(m->out, more, arguments);
    va_end(arguments);
    fputs("} ", m->out);
}

static void print_gauge(const struct metrics *m, const char *name, const char *help, uint64_t value)
{
    head(m, name, "gauge", help);
    begin(m, name, NULL, "%s", "");
    fprintf(m->out, "%" PRIu64 "\n", value);
}

static void print_store(const struct metrics *m)
{
    print_gauge(m, "store_ok", "Whether the store could be loaded and verified.",
                m->problem == STATUS_DONE);
    if (m->problem != STATUS_DONE)
        return;
    print_gauge(m, "store_generation", "Commits since the store was made.", m->stats.generation);
    print_gauge(m, "secrets", "Secrets in the store.", m->stats.secrets);
    print_gauge(m, "secrets_expired", "Secrets whose time is over.", m->expired);
    head(m, "secrets_expiring", "gauge", "Secrets whose time is over within so many days.");
    for (size_t i = 0; i < 3; i++) {
        begin(m, "secrets_expiring", NULL, ",days=\"%u\"", expiring_days[i]);
        fprintf(m->out, "%" PRIu64 "\n", m->expiring[i]);
    }
    if (m->next_expiry_ns)
        print_gauge(m, "next_expiry_timestamp_seconds", "When the next secret expires.",
                    (uint64_t)(m->next_expiry_ns / SECOND_NS));
    print_gauge(m, "rotations", "Secrets that have a rotation set.", m->rotations);
    print_gauge(m, "rotations_overdue", "Secrets that should have been rotated by now.",
                m->overdue);
}

/* One number of each daemon that has answered. */
static void print_of_each(const struct metrics *m, const char *name, const char *type,
                          const char *help, uint64_t (*number)(const struct control_reply *))
{
    head(m, name, type, help);
    for (size_t i = 0; i < m->count; i++) {
        if (m->daemons[i].error)
            continue;
        begin(m, name, &m->daemons[i], "%s", "");
        fprintf(m->out, "%" PRIu64 "\n", number(&m->daemons[i]));
    }
}

static uint64_t restarts_of(const struct control_reply *reply)
{
    return reply->restarts;
}

static uint64_t generation_of(const struct control_reply *reply)
{
    return reply->generation;
}

static uint64_t degraded_of(const struct control_reply *reply)
{
    return reply->degraded != STORE_OK;
}

static uint64_t unrecorded_of(const struct control_reply *reply)
{
    return reply->unrecorded;
}

static void print_up(const struct metrics *m)
{
    head(m, "up", "gauge", "Whether the daemon answers.");
    for (size_t i = 0; i < m->count; i++) {
        begin(m, "up", &m->daemons[i], "%s", "");
        fprintf(m->out, "%d\n", m->daemons[i].error == 0);
    }
}

static void print_opens(const struct metrics *m)
{
    static const char *const results[CONTROL_COUNTS] = {
        [CONTROL_OPENS] = "ok",        [CONTROL_DENIED] = "denied", [CONTROL_REVOKED] = "revoked",
        [CONTROL_EXPIRED] = "expired", [CONTROL_FAILED] = "failed",
    };

    head(m, "opens_total", "counter", "Opens of secrets, by how they were answered.");
    for (size_t i = 0; i < m->count; i++)
        for (unsigned c = 0; m->daemons[i].error == 0 && c < CONTROL_COUNTS; c++) {
            begin(m, "opens_total", &m->daemons[i], ",result=\"%s\"", results[c]);
            fprintf(m->out, "%" PRIu64 "\n", m->daemons[i].counts[c]);
        }
}

static void print_latencies_of(const struct metrics *m, const struct control_reply *daemon)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < CONTROL_LATENCIES; i++) {
        sum += daemon->latencies[i];
        if (i < CONTROL_LATENCIES - 1)
            begin(m, "open_seconds_bucket", daemon, ",le=\"%g\"", control_latency_us[i] / 1e6);
        else
            begin(m, "open_seconds_bucket", daemon, ",le=\"+Inf\"");
        fprintf(m->out, "%" PRIu64 "\n", sum);
    }
    begin(m, "open_seconds_sum", daemon, "%s", "");
    fprintf(m->out, "%.9f\n", (double)daemon->latency_ns / SECOND_NS);
    begin(m, "open_seconds_count", daemon, "%s", "");
    fprintf(m->out, "%" PRIu64 "\n", sum);
}

static void print_daemons(const struct metrics *m)
{
    print_up(m);
    print_opens(m);
    head(m, "open_seconds", "histogram", "Time in which the daemon answered opens.");
    for (size_t i = 0; i < m->count; i++)
        if (m->daemons[i].error == 0)
            print_latencies_of(m, &m->daemons[i]);
    print_of_each(m, "worker_restarts_total", "counter", "Workers that had to be replaced.",
                  restarts_of);
    print_of_each(m, "generation", "gauge", "The generation that the mount shows.", generation_of);
    print_of_each(m, "degraded", "gauge",
                  "Whether the mount shows an older state than the store's.", degraded_of);
    print_of_each(m, "unrecorded_reads", "gauge", "Reads that are not on record yet.",
                  unrecorded_of);
}

/* ---- The command --------------------------------------------------------- */

/* A file that is complete whenever somebody looks. */
static enum status replace_file(const char *path, const char *text, size_t len)
{
    const struct task task = {"write the metrics to", path};
    AUTO_FREE char *made = NULL;

    if (asprintf(&made, "%s.XXXXXX", path) < 0)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    int fd = mkstemp(made);
    if (fd < 0)
        return fail(&task, STATUS_FAILED, NULL, "%s", strerror(errno));
    bool written = fchmod(fd, 0644) == 0 && write(fd, text, len) == (ssize_t)len;
    int error = written ? 0 : errno ? errno : EIO;
    if (close(fd) != 0 && !error)
        error = errno;
    if (!error && rename(made, path) == 0)
        return STATUS_DONE;
    error = error ? error : errno;
    unlink(made);
    return fail(&task, STATUS_FAILED, NULL, "%s", strerror(error));
}

static enum status load(struct cli *cli, struct metrics *m)
{
    const struct task task = {"load the store", cli->store_path};
    enum status status = unlock_store(cli, STORE_READ_ONLY);

    if (status == STATUS_DONE) {
        enum store_err err = gather(cli->store, m);
        status = err == STORE_OK ? STATUS_DONE : fail_store(&task, err);
    }
    m->problem = status;
    return status;
}

enum status metrics_run(struct cli *cli)
{
    const struct task task = {"tell the metrics of", cli->store_path};
    const char *path = cli_value(cli, OPTION_OUTPUT);
    AUTO_FREE struct metrics *m = calloc(1, sizeof *m);
    AUTO_FREE char *text = NULL;
    char room[PATH_MAX];
    size_t len = 0;
    size_t count;

    if (m == NULL)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    enum status status = load(cli, m);
    if (status != STATUS_DONE && status != STATUS_INTEGRITY)
        return status;
    m->path = realpath(cli->store_path, room) ? room : cli->store_path;
    if (control_ask_at(m->path, CONTROL_STATUS, DAEMON_TIMEOUT_MS, add_daemon, m, &count) !=
        STORE_OK)
        return fail_store(&task, STORE_ERR_IO);
    m->out = open_memstream(&text, &len);
    if (m->out == NULL)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    print_store(m);
    print_daemons(m);
    if (fclose(m->out) != 0)
        return fail_code(&task, STORE_ERR_NO_MEMORY);
    enum status printed = STATUS_DONE;
    if (path)
        printed = replace_file(path, text, len);
    else
        fwrite(text, 1, len, stdout);
    return status == STATUS_DONE ? printed : status;
}
