/*
 * Line by line, with the states of the chain behind the last ones at hand: a line may continue an
 * earlier one than the one before it, since its writer did not wait for others.
 *
 * A piece of a line is no flaw in itself; the hashes of later lines cover it. So where a line is
 * not as it was, and there are pieces before it that no line has covered yet, the first of those is
 * to blame: it may have been a whole line.
 */
#include "audit_verify.h"
#include "audit_former.h"
#include "audit_line.h"
#include "audit_tail.h"
#include "fault.h"
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATES (1U << 20)   /* how far back a line may continue the chain */
#define LATE_KEY_LINES 4096 /* after a rekey, for who has yet to hear of it */
#define BUFFER_BYTES (16 * AUDIT_LINE_MAX)
#define FIRST_LINES 64 /* that tell where a file begins */

struct state {
    unsigned char hash[AUDIT_HASH_BYTES];
    unsigned char chain[AUDIT_HASH_BYTES]; /* of the line that led to it; zeros for a piece */
};

/* An end that the record has had: it is to be met with. */
struct known {
    struct audit_head head;
    bool met;
    enum audit_flaw flaw; /* if another state has its number: what that tells, and where it was; */
    size_t file; /* lines that came late to a file may have it, and the next file this one */
    uint64_t line;
};

struct verifier {
    struct audit_report *report;
    struct audit_keys keys;
    struct known *ends; /* that of the last commit and those that were given */
    size_t end_count;
    struct state *states; /* by number, modulo STATES */
    char *buffer;

    struct audit_head head;
    uint64_t first;    /* the number of the first line of all */
    uint64_t known;    /* the lowest number whose state is known; UINT64_MAX: none is yet */
    size_t file;       /* the line at hand: its file, */
    uint64_t line;     /* and its number there */
    bool any_fits;     /* a key that is kept has fit a line */
    bool uncovered;    /* there is a piece that no line covers yet */
    size_t piece_file; /* where the first of them is */
    uint64_t piece_line;
};

static struct state *state_of(const struct verifier *v, uint64_t number)
{
    return &v->states[number % STATES];
}

/* The line to blame for it. */
static void place_of(const struct verifier *v, enum audit_flaw what, size_t *ret_file,
                     uint64_t *ret_line)
{
    bool piece = what == AUDIT_FLAW_CHANGED && v->uncovered;

    *ret_file = piece ? v->piece_file : v->file;
    *ret_line = piece ? v->piece_line : v->line;
}

static void flaw(struct verifier *v, enum audit_flaw what, uint64_t missing)
{
    v->report->flaw = what;
    v->report->missing = missing;
    place_of(v, what, &v->report->file, &v->report->line);
}

/* ---- A line -------------------------------------------------------------- */

static void copy_time(const char *line, char ret_time[AUDIT_TIME_TEXT])
{
    const char *begin = line + strlen("{\"time\":\"");
    memcpy(ret_time, begin, strlen("2026-11-24T18:20:31.123456Z"));
}

/* Under the key of its time, or the one before, if that had not been over for long. */
static bool hash_fits(struct verifier *v, const char *line, const struct audit_link *link)
{
    const struct audit_keys *keys = &v->keys;
    const unsigned char *state = state_of(v, link->sequence - 1)->hash;
    unsigned char hash[AUDIT_HASH_BYTES];

    for (size_t i = 0; i < keys->count; i++) {
        if (i + 1 < keys->count && v->head.number > keys->last[i] + LATE_KEY_LINES)
            continue;
        if (i > 0 && v->head.number <= keys->last[i - 1])
            break;
        seal_audit_hash_under(keys->bytes.data + i * STORE_KEY_BYTES, state, line, link->body_len,
                              hash);
        if (memcmp(hash, link->chain, sizeof hash) == 0)
            return v->any_fits = true;
    }
    return false;
}

/* Only so many former keys are kept; what is older than the first line that one fits is too old. */
static bool is_of_forgotten_key(struct verifier *v)
{
    bool forgotten =
        !v->any_fits && v->keys.count > AUDIT_FORMER_MAX && v->head.number <= v->keys.last[0];
    v->report->unchecked += forgotten;
    return forgotten;
}

/* Whether the same line stands between the place that it names and this one. */
static bool is_doubled(const struct verifier *v, const struct audit_link *link)
{
    for (uint64_t n = link->sequence; n < v->head.number; n++)
        if (memcmp(state_of(v, n)->chain, link->chain, sizeof link->chain) == 0)
            return true;
    return false;
}

/* The chain continues from it, if nothing before it is known. */
static void check_first(struct verifier *v, const struct audit_link *link)
{
    v->report->unchecked++;
    if (link->sequence == v->head.number)
        v->known = v->head.number;
}

static void check(struct verifier *v, const char *line, const struct audit_link *link)
{
    uint64_t before = link->sequence - 1;

    if (before >= v->head.number)
        flaw(v, AUDIT_FLAW_MISSING, before - (v->head.number - 1));
    else if (v->known == UINT64_MAX || (before < v->known && link->sequence >= v->first))
        check_first(v, link);
    else if (before < v->known || v->head.number - before > STATES - 1)
        flaw(v, AUDIT_FLAW_MOVED, 0);
    else if (!hash_fits(v, line, link) && !is_of_forgotten_key(v))
        flaw(v, AUDIT_FLAW_CHANGED, 0);
    else if (is_doubled(v, link))
        flaw(v, AUDIT_FLAW_DOUBLED, 0);
    else
        v->uncovered = v->uncovered && before < v->head.number - 1;
}

static void note_piece(struct verifier *v)
{
    v->report->incomplete++;
    if (v->uncovered)
        return;
    v->uncovered = true;
    v->piece_file = v->file;
    v->piece_line = v->line;
}

/* Whether an end that is known was here. */
static void pass_ends(struct verifier *v)
{
    for (size_t i = 0; i < v->end_count; i++) {
        struct known *end = &v->ends[i];
        if (end->head.number != v->head.number)
            continue;
        end->met |= v->known > v->head.number ||
                    memcmp(end->head.hash, v->head.hash, sizeof v->head.hash) == 0;
        end->flaw = v->uncovered ? AUDIT_FLAW_CHANGED : AUDIT_FLAW_CUT;
        place_of(v, end->flaw, &end->file, &end->line);
    }
}

static void take_line(struct verifier *v, const char *line, size_t len)
{
    struct audit_report *report = v->report;
    struct audit_link link = {0};

    v->line++;
    if (len == 0)
        return;
    audit_head_fold(&v->head, line, len);
    bool whole = audit_line_parse(line, len, &link) && link.sequence > 0;
    if (whole)
        check(v, line, &link);
    else
        note_piece(v);
    if (report->flaw)
        return;
    struct state *state = state_of(v, v->head.number);
    memcpy(state->hash, v->head.hash, sizeof state->hash);
    memset(state->chain, 0, sizeof state->chain);
    if (whole) {
        memcpy(state->chain, link.chain, sizeof state->chain);
        copy_time(line, report->first[0] ? report->last : report->first);
        if (report->lines++ == 0)
            copy_time(line, report->last);
    }
    pass_ends(v);
}

/* ---- A file -------------------------------------------------------------- */

static ssize_t read_some(int fd, char *ret_bytes, size_t room, uint64_t at)
{
    ssize_t n;

    do
        n = pread(fd, ret_bytes, room, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n;
}

/*
 * The number of the file's first line; 0 where nothing tells. Who begins a file has seen all that
 * is in it, so that is what the first line says; where a piece comes before it, all are asked.
 */
static uint64_t first_number(const char *text, size_t len)
{
    struct audit_run run = {0};
    struct audit_link link;
    size_t line_len;
    size_t taken;

    for (size_t at = 0;
         run.count < FIRST_LINES && audit_line_end(text + at, len - at, &line_len, &taken);
         at += taken) {
        if (run.count == 0 && audit_line_parse(text + at, line_len, &link))
            return link.sequence;
        audit_run_add(&run, text + at, line_len);
    }
    return run.any && run.first > 0 ? (uint64_t)run.first : 0;
}

/* The beginning of the first file: what was rotated away and is not here can't be checked. */
static void begin_chain(struct verifier *v, uint64_t first)
{
    if (first <= 1) {
        memset(state_of(v, 0), 0, sizeof(struct state));
        v->known = 0;
        return;
    }
    v->first = first;
    v->head.number = first - 1;
    v->known = UINT64_MAX;
}

/*
 * A further file: its writers may not have seen the last lines of the one before, which somebody
 * wrote who had not noticed yet that it was rotated away.
 */
static void begin_file(struct verifier *v, uint64_t first)
{
    uint64_t before = first - 1;

    v->line = 1; /* in case that something is wrong with where it begins */
    if (first == 0 || before == v->head.number) {
        v->line = 0;
        return;
    }
    if (before > v->head.number) {
        flaw(v, AUDIT_FLAW_MISSING, before - v->head.number);
    } else if (v->head.number - before > STATES - 1 || before < v->known) {
        flaw(v, AUDIT_FLAW_MOVED, 0);
    } else {
        v->report->late += v->head.number - before;
        v->head.number = before;
        memcpy(v->head.hash, state_of(v, before)->hash, sizeof v->head.hash);
        v->line = 0;
    }
}

static enum store_err verify_file(struct verifier *v, int fd)
{
    uint64_t from = 0;
    bool begun = false;

    v->line = 0;
    while (!v->report->flaw) {
        ssize_t n = read_some(fd, v->buffer, BUFFER_BYTES, from);
        size_t at = 0;
        size_t line_len;
        size_t taken;
        if (n < 0)
            return fault_errno(errno, "read", "the record");
        if (!begun && v->file == 0)
            begin_chain(v, first_number(v->buffer, (size_t)n));
        else if (!begun)
            begin_file(v, first_number(v->buffer, (size_t)n));
        begun = true;
        while (!v->report->flaw &&
               audit_line_end(v->buffer + at, (size_t)n - at, &line_len, &taken)) {
            take_line(v, v->buffer + at, line_len);
            at += taken;
        }
        from += at;
        if (at > 0)
            continue;
        v->report->incomplete += n > 0;
        break;
    }
    return STORE_OK;
}

/* ---- The whole ----------------------------------------------------------- */

/* What an end tells that was not met. What is wrong in the same file comes after it. */
static void judge_end(struct verifier *v, const struct known *end)
{
    struct audit_report *report = v->report;
    uint64_t before = report->flaw == AUDIT_FLAW_CUT ? report->missing : 0;

    if (end->flaw && (!report->flaw || report->file == end->file)) {
        report->flaw = end->flaw;
        report->file = end->file;
        report->line = end->line;
        report->missing = 0;
    } else if ((!report->flaw || before > 0) && end->head.number > v->head.number + before) {
        flaw(v, AUDIT_FLAW_CUT, end->head.number - v->head.number);
    }
}

static void finish(struct verifier *v)
{
    for (size_t i = 0; i < v->end_count; i++)
        if (!v->ends[i].met)
            judge_end(v, &v->ends[i]);
}

static enum store_err begin(struct verifier *v, struct store *store,
                            const struct audit_evidence *evidence)
{
    pthread_rwlock_rdlock(&store->lock);
    struct root_record root = store->root;
    pthread_rwlock_unlock(&store->lock);

    v->ends = calloc(evidence->end_count + 1, sizeof *v->ends);
    v->states = calloc(STATES, sizeof *v->states);
    v->buffer = malloc(BUFFER_BYTES);
    if (v->ends == NULL || v->states == NULL || v->buffer == NULL)
        return fault(STORE_ERR_NO_MEMORY, "verify", "the record", NULL);
    for (size_t i = 0; i < evidence->end_count; i++)
        v->ends[v->end_count++].head = evidence->ends[i];
    if (root.checkpoint.time_ns)
        v->ends[v->end_count++].head = root.checkpoint.head;
    return audit_keys_open(&store->keys, &root, &v->keys);
}

enum store_err audit_verify(struct store *store, const struct audit_evidence *evidence,
                            struct audit_report *ret_report)
{
    struct verifier v = {.report = ret_report, .keys = {.bytes = SECBUF_INIT}};

    *ret_report = (struct audit_report){0};
    enum store_err err = begin(&v, store, evidence);
    for (; !err && v.file < evidence->file_count && !ret_report->flaw; v.file++)
        err = verify_file(&v, evidence->files[v.file]);
    if (!err && v.file > 0 && !ret_report->flaw)
        v.file--;
    if (!err)
        finish(&v);
    audit_keys_release(&v.keys);
    free(v.ends);
    free(v.buffer);
    free(v.states);
    return err;
}
