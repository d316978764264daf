/*
 * A line is written for every read that is answered, so this allocates nothing and formats by hand.
 *
 * The hash of a line is keyed; the state that its number stands for is not, so that the chain can
 * be followed, if not continued, without the key.
 */
#include "audit_line.h"
#include "clock.h"
#include "utf8.h"

#include <assert.h>
#include <ctype.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#define CHAIN_FIELD ",\"chain\":\""
#define CHAIN_FIELD_LEN (sizeof CHAIN_FIELD - 1)
#define CHAIN_DIGITS (2 * (size_t)AUDIT_HASH_BYTES)
#define TAIL_LEN (CHAIN_FIELD_LEN + CHAIN_DIGITS + 2) /* with the quote and brace behind it */
#define TIME_FIELD "{\"time\":\""
#define SEQUENCE_FIELD "Z\",\"seq\":"
#define SEQUENCE_AT (sizeof TIME_FIELD - 1 + AUDIT_SECOND_TEXT - 1 + 7)
#define SEQUENCE_DIGITS 18

/* Room for each string once it is escaped, the dots of a cut one included. */
#define PATH_ROOM 9216
#define EXECUTABLE_ROOM 2048
#define DETAIL_ROOM 2048
#define WORD_ROOM 512
#define CUT "..."

static_assert(PATH_ROOM + EXECUTABLE_ROOM + DETAIL_ROOM + 3 * WORD_ROOM + 1024 < AUDIT_LINE_MAX,
              "a line has room for the longest strings");

static const char *const event_names[AUDIT_EVENTS] = {
    [AUDIT_OPEN] = "open",           [AUDIT_DENIED] = "denied",
    [AUDIT_REVOKED] = "revoked",     [AUDIT_EXPIRED] = "expired",
    [AUDIT_INTEGRITY] = "integrity", [AUDIT_GET] = "get",
    [AUDIT_MOUNT] = "mount",         [AUDIT_UNMOUNT] = "unmount",
    [AUDIT_RESTART] = "restart",     [AUDIT_GAP] = "gap",
    [AUDIT_INIT] = "init",           [AUDIT_PUT] = "put",
    [AUDIT_ROTATE] = "rotate",       [AUDIT_ROLLBACK] = "rollback",
    [AUDIT_LABEL] = "label",         [AUDIT_REVOKE] = "revoke",
    [AUDIT_EXPIRE] = "expire",       [AUDIT_MKDIR] = "mkdir",
    [AUDIT_MOVE] = "move",           [AUDIT_REMOVE] = "remove",
    [AUDIT_RESTORE] = "restore",     [AUDIT_PURGE] = "purge",
    [AUDIT_POLICY] = "policy",       [AUDIT_DESCRIBE] = "describe",
    [AUDIT_SCHEDULE] = "schedule",   [AUDIT_KEY] = "key",
    [AUDIT_REKEY] = "rekey",         [AUDIT_ANCHOR] = "anchor",
};

const char *audit_event_name(enum audit_event event)
{
    return event_names[event];
}

bool audit_event_find(const char *name, enum audit_event *ret_event)
{
    for (unsigned i = 0; i < AUDIT_EVENTS; i++) {
        if (strcmp(event_names[i], name) != 0)
            continue;
        *ret_event = (enum audit_event)i;
        return true;
    }
    return false;
}

/* ---- Writing ------------------------------------------------------------- */

static char *put_text(char *at, const char *text)
{
    return stpcpy(at, text);
}

static char *put_decimal(char *at, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n > 0)
        *at++ = digits[--n];
    return at;
}

static char *put_digits(char *at, uint32_t v, unsigned width)
{
    for (unsigned i = width; i > 0; i--, v /= 10)
        at[i - 1] = (char)('0' + v % 10);
    return at + width;
}

/* One character of a JSON string, of `*s` on, which is moved behind it; at most six bytes. */
static char *put_character(char *at, const unsigned char **s)
{
    static const char hex[] = "0123456789abcdef";
    unsigned c = **s;
    size_t n;

    if (c == '"' || c == '\\') {
        *at++ = '\\';
        *at++ = (char)c;
    } else if (c < 0x20 || c == 0x7f) {
        at = put_text(at, "\\u00");
        *at++ = hex[c >> 4];
        *at++ = hex[c & 15];
    } else if (c < 0x80) {
        *at++ = (char)c;
    } else if ((n = utf8_length(*s, SIZE_MAX)) > 0) {
        memcpy(at, *s, n);
        at += n;
        *s += n - 1;
    } else {
        at = put_text(at, "\xef\xbf\xbd"); /* U+FFFD */
    }
    ++*s;
    return at;
}

/* in: field  what stands before the value; room  for the escaped string */
static char *put_string(char *at, const char *field, const char *text, size_t room)
{
    const unsigned char *s = (const unsigned char *)text;

    at = put_text(at, field);
    if (text == NULL)
        return put_text(at, "null");
    *at++ = '"';
    const char *limit = at + room - 6 - sizeof CUT;
    while (*s && at <= limit)
        at = put_character(at, &s);
    if (*s)
        at = put_text(at, CUT);
    *at++ = '"';
    return at;
}

static char *put_number_or_null(char *at, const char *field, uint32_t v, uint32_t null)
{
    at = put_text(at, field);
    return v == null ? put_text(at, "null") : put_decimal(at, v);
}

static void set_second(struct audit_clock *clock, int64_t second)
{
    struct tm tm;
    time_t t = (time_t)second;

    clock->second = second;
    /* A year of five digits would need more room; no clock shows one. */
    if (gmtime_r(&t, &tm) == NULL || tm.tm_year > 8099 || tm.tm_year < 0)
        memset(&tm, 0, sizeof tm);
    strftime(clock->text, sizeof clock->text, "%Y-%m-%dT%H:%M:%S", &tm);
}

static char *put_time(char *at, struct audit_clock *clock, int64_t time_ns)
{
    if (time_ns == 0)
        time_ns = clock_ns(CLOCK_REALTIME);
    int64_t second = time_ns / CLOCK_SECOND_NS - (time_ns % CLOCK_SECOND_NS < 0);
    if (second != clock->second || clock->text[0] == '\0')
        set_second(clock, second);
    at = put_text(put_text(at, TIME_FIELD), clock->text);
    *at++ = '.';
    return put_digits(at, (uint32_t)((time_ns - second * CLOCK_SECOND_NS) / 1000), 6);
}

static char *put_who(char *at, const struct audit_actor *who)
{
    at = put_number_or_null(at, ",\"uid\":", who->uid, UINT32_MAX);
    at = put_number_or_null(at, ",\"gid\":", who->gid, UINT32_MAX);
    at = put_number_or_null(at, ",\"pid\":", who->pid, 0);
    at = put_string(at, ",\"executable\":", who->executable, EXECUTABLE_ROOM);
    at = put_string(at, ",\"unit\":", who->unit, WORD_ROOM);
    at = put_string(at, ",\"container\":", who->container, WORD_ROOM);
    return who->sudo ? put_text(at, ",\"sudo\":true") : at;
}

size_t audit_line_write(const struct seal_keys *keys, const struct audit_head *head,
                        struct audit_clock *clock, const struct audit_entry *entry,
                        char ret_line[static AUDIT_LINE_MAX],
                        unsigned char ret_chain[static AUDIT_HASH_BYTES])
{
    char *at = put_time(ret_line, clock, entry->time_ns);

    at = put_decimal(put_text(at, SEQUENCE_FIELD), head->number + 1);
    at = put_string(at, ",\"event\":", event_names[entry->event], WORD_ROOM);
    at = put_string(at, ",\"path\":", entry->path, PATH_ROOM);
    at = put_number_or_null(at, ",\"version\":", entry->version, 0);
    at = put_who(at, &entry->who);
    at = put_string(at, ",\"result\":", entry->result ? entry->result : "ok", WORD_ROOM);
    if (entry->detail)
        at = put_string(at, ",\"detail\":", entry->detail, DETAIL_ROOM);
    if (entry->count)
        at = put_decimal(put_text(at, ",\"count\":"), entry->count);
    if (entry->inferred)
        at = put_text(at, ",\"inferred\":true");
    seal_audit_hash(keys, head->hash, ret_line, (size_t)(at - ret_line), ret_chain);
    at = put_text(at, CHAIN_FIELD);
    sodium_bin2hex(at, CHAIN_DIGITS + 1, ret_chain, AUDIT_HASH_BYTES);
    at = put_text(at + CHAIN_DIGITS, "\"}\n");
    return (size_t)(at - ret_line);
}

/* ---- Reading ------------------------------------------------------------- */

static bool take_hex(const char *text, unsigned char ret_hash[AUDIT_HASH_BYTES])
{
    for (size_t i = 0; i < CHAIN_DIGITS; i++) {
        unsigned c = (unsigned char)text[i];
        unsigned digit = c - '0' < 10 ? c - '0' : c - 'a' < 6 ? c - 'a' + 10 : 16;
        if (digit == 16)
            return false;
        ret_hash[i / 2] = (unsigned char)(i % 2 ? ret_hash[i / 2] | digit : digit << 4);
    }
    return true;
}

bool audit_line_sequence(const char *line, size_t len, uint64_t *ret_sequence)
{
    const size_t at = SEQUENCE_AT + sizeof SEQUENCE_FIELD - 1;
    uint64_t v = 0;
    size_t i;

    if (len <= at || memcmp(line, TIME_FIELD, sizeof TIME_FIELD - 1) != 0 ||
        memcmp(line + SEQUENCE_AT, SEQUENCE_FIELD, sizeof SEQUENCE_FIELD - 1) != 0)
        return false;
    for (i = at; i < len && isdigit((unsigned char)line[i]) && i < at + SEQUENCE_DIGITS; i++)
        v = v * 10 + (uint64_t)(line[i] - '0');
    *ret_sequence = v;
    return i > at && i < len && line[at] != '0' && line[i] == ',';
}

bool audit_line_parse(const char *line, size_t len, struct audit_link *ret_link)
{
    if (len < SEQUENCE_AT + sizeof SEQUENCE_FIELD + TAIL_LEN || len >= AUDIT_LINE_MAX)
        return false;
    /* Two in one: quotes inside of strings are escaped, so no line has this in its middle. */
    if (memmem(line + 1, len - 1, TIME_FIELD, sizeof TIME_FIELD - 1) != NULL)
        return false;
    size_t body_len = len - TAIL_LEN;
    ret_link->body_len = body_len;
    return memcmp(line + len - 2, "\"}", 2) == 0 &&
           memcmp(line + body_len, CHAIN_FIELD, CHAIN_FIELD_LEN) == 0 &&
           audit_line_sequence(line, body_len, &ret_link->sequence) &&
           take_hex(line + body_len + CHAIN_FIELD_LEN, ret_link->chain);
}

bool audit_line_end(const char *text, size_t len, size_t *ret_line_len, size_t *ret_taken)
{
    size_t most = len < AUDIT_LINE_MAX ? len : AUDIT_LINE_MAX;
    const char *newline = most ? memchr(text, '\n', most) : NULL;

    if (newline == NULL && most < AUDIT_LINE_MAX)
        return false;
    *ret_line_len = newline ? (size_t)(newline - text) : most;
    *ret_taken = *ret_line_len + (newline != NULL);
    return true;
}

/* ---- The chain ----------------------------------------------------------- */

static void absorb(unsigned char hash[static AUDIT_HASH_BYTES], const void *bytes, size_t len)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, AUDIT_HASH_BYTES);
    crypto_generichash_update(&state, hash, AUDIT_HASH_BYTES);
    crypto_generichash_update(&state, bytes, len);
    crypto_generichash_final(&state, hash, AUDIT_HASH_BYTES);
}

void audit_head_fold(struct audit_head *head, const char *line, size_t len)
{
    struct audit_link link;

    if (len == 0)
        return;
    head->number++;
    if (!audit_line_parse(line, len, &link))
        absorb(head->hash, line, len);
    else if (link.sequence == head->number)
        memcpy(head->hash, link.chain, sizeof head->hash);
    else
        absorb(head->hash, link.chain, sizeof link.chain);
}
