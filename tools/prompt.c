/*
 * Asking on the terminal without echo.
 *
 * Signals that would end or stop the process are held back but for the wait itself, so that a
 * terminal is never left without echo. Must not know the store. One thread only.
 */
#include "prompt.h"

#include "auto.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>

/*
 * What a terminal's line can hold (canonical mode, termios(3)); it drops the rest without a word,
 * so a line that long can't be told from a cut one.
 */
#define LINE_MAX_BYTES 4094

static const int held_signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP};
#define HELD_SIGNALS (sizeof(held_signals) / sizeof(held_signals[0]))

static volatile sig_atomic_t caught_signal;

static void note_signal(int number)
{
    caught_signal = number;
}

/* How things were before the question. */
struct prompt {
    int tty;
    struct termios modes;
    sigset_t mask;
    struct sigaction actions[HELD_SIGNALS];
};

/* Everything as it was, and only then the signal that came meanwhile. */
static void prompt_end(const struct prompt *prompt)
{
    tcsetattr(prompt->tty, TCSAFLUSH, &prompt->modes);
    for (size_t i = 0; i < HELD_SIGNALS; i++)
        sigaction(held_signals[i], &prompt->actions[i], NULL);
    if (caught_signal)
        raise(caught_signal);
    sigprocmask(SIG_SETMASK, &prompt->mask, NULL);
}

static bool prompt_begin(struct prompt *prompt)
{
    struct sigaction action = {.sa_handler = note_signal};
    struct termios silent;
    sigset_t held;

    if (tcgetattr(prompt->tty, &prompt->modes) != 0)
        return false;
    sigemptyset(&held);
    for (size_t i = 0; i < HELD_SIGNALS; i++)
        sigaddset(&held, held_signals[i]);
    sigprocmask(SIG_BLOCK, &held, &prompt->mask);
    caught_signal = 0;
    for (size_t i = 0; i < HELD_SIGNALS; i++) {
        sigaction(held_signals[i], NULL, &prompt->actions[i]);
        if (prompt->actions[i].sa_handler != SIG_IGN)
            sigaction(held_signals[i], &action, NULL);
    }
    silent = prompt->modes;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    silent.c_lflag |= ICANON | ISIG;
    /* Flushing drops what was typed before the question, and after: the rest of a too long line. */
    if (tcsetattr(prompt->tty, TCSAFLUSH, &silent) != 0) {
        int error = errno;
        prompt_end(prompt);
        errno = error;
        return false;
    }
    return true;
}

static void say(int tty, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(tty, text, len);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

/* True with a whole line in `line`, newline cut off. False with errno set; EINTR after a signal. */
static bool read_line(const struct prompt *prompt, struct secbuf *line)
{
    struct pollfd ready = {.fd = prompt->tty, .events = POLLIN};

    while (line->len < line->capacity) {
        ssize_t n;
        if (ppoll(&ready, 1, NULL, &prompt->mask) < 0) {
            if (errno == EINTR && !caught_signal)
                continue;
            return false;
        }
        n = read(prompt->tty, line->data + line->len, line->capacity - line->len);
        if (n < 0)
            return false;
        if (n == 0 && line->len == 0) {
            errno = ENODATA;
            return false;
        }
        if (n == 0)
            return true;
        line->len += (size_t)n;
        if (line->data[line->len - 1] == '\n') {
            line->len--;
            return true;
        }
    }
    errno = EMSGSIZE;
    return false;
}

/* Ask, again after the process was stopped and continued. Returns 0 or an errno. */
static int ask(int tty, const char *question, struct secbuf *line)
{
    struct prompt prompt = {.tty = tty};
    int result = EINTR;

    while (result == EINTR) {
        secbuf_wipe(line);
        if (!prompt_begin(&prompt)) {
            result = errno;
            break;
        }
        say(tty, question);
        result = read_line(&prompt, line) ? 0 : errno;
        say(tty, "\n");
        prompt_end(&prompt);
    }
    return result;
}

static enum status ask_reported(const struct task *task, enum status failed, int tty,
                                const char *question, size_t max, struct secbuf *line)
{
    enum store_err err = secbuf_alloc(line, LINE_MAX_BYTES + 1);
    int result;

    if (err != STORE_OK)
        return fail_store(task, err);
    result = ask(tty, question, line);
    if (result == ENODATA)
        return fail(task, failed, NULL, "nothing was entered");
    if (result == 0 && line->len > max)
        return fail(task, failed, NULL, "the line is longer than %zu bytes", max);
    if (result == EMSGSIZE || (result == 0 && line->len >= LINE_MAX_BYTES))
        return fail(task, failed, "use a file or a pipe", "the line is too long for a terminal");
    if (result != 0)
        return fail(task, failed, NULL, "reading from the terminal failed: %s", strerror(result));
    return STATUS_DONE;
}

static int open_tty(const struct task *task, enum status failed, enum status *ret_status)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (tty < 0)
        *ret_status = fail(task, failed, "use --passphrase-fd", "there is no terminal to ask on");
    return tty;
}

enum status prompt_once(const struct task *task, enum status failed, const char *question,
                        size_t max, struct secbuf *ret_line)
{
    AUTO_FREE char *shown = text_escape(question);
    enum status status = failed;
    AUTO_CLOSE int tty = open_tty(task, failed, &status);

    if (tty < 0)
        return status;
    return ask_reported(task, failed, tty, shown ? shown : "", max, ret_line);
}

enum status prompt_twice(const struct task *task, enum status failed, const char *question,
                         size_t max, struct secbuf *ret_line)
{
    SECBUF_AUTO struct secbuf again = SECBUF_INIT;
    enum status status = prompt_once(task, failed, question, max, ret_line);

    if (status == STATUS_DONE)
        status = prompt_once(task, failed, "The same again: ", max, &again);
    if (status != STATUS_DONE)
        return status;
    if (again.len != ret_line->len ||
        (again.len > 0 && memcmp(again.data, ret_line->data, again.len) != 0))
        return fail(task, failed, NULL, "the two entries differ");
    return STATUS_DONE;
}
