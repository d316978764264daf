/*
 * Secret bytes from descriptors, straight into locked memory: no stdio, whose buffers nobody wipes.
 *
 * Failures are reported here, as those of the task at hand. Must not know the store.
 */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include "fail.h"
#include "secmem.h"

/*
 * Everything up to the end of a file, byte for byte; "-" is standard input. More than `max` bytes
 * are refused, and reading stops soon after them. out: ret_value  caller owns; secbuf_release()
 */
enum status input_file(const struct task *task, const char *path, size_t max,
                       struct secbuf *ret_value);

#endif
