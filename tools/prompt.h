/*
 * Secret lines from a person: on /dev/tty, without echo, into locked memory. Must not know the
 * store.
 */
#ifndef TOOLS_PROMPT_H
#define TOOLS_PROMPT_H

#include "fail.h"
#include "secmem.h"

/*
 * Ask on the terminal for one line of up to `max` bytes; its newline is not part of it. An empty
 * line is an answer, the end of input is not. Failures are reported, with the status `failed`. in:
 * question  printed as it is, escaped out: ret_line  caller owns; secbuf_release()
 */
enum status prompt_once(const struct task *task, enum status failed, const char *question,
                        size_t max, struct secbuf *ret_line);

/* The same, asked twice; different answers are refused. */
enum status prompt_twice(const struct task *task, enum status failed, const char *question,
                         size_t max, struct secbuf *ret_line);

#endif
