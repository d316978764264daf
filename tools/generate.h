/*
 * Random values to order: --generate SPEC.
 *
 * Knows no command line and no store.
 */
#ifndef TOOLS_GENERATE_H
#define TOOLS_GENERATE_H

#include "secmem.h"

#include <stddef.h>

struct generate_kind;

struct generate_spec {
    const struct generate_kind *kind;
    size_t count; /* characters; of base64, random bytes */
};

#define GENERATE_MAX 4096

/* Lines for --help that say what SPEC can be. */
extern const char generate_notes[];

/* NULL, or what is wrong with `text`, for people. */
const char *generate_parse(const char *text, struct generate_spec *ret_spec);

/*
 * Make a value.
 * out:    ret_value  caller owns; secbuf_release()
 * errors: NO_MEMORY, MEMORY_LOCK, IO (no random bytes)
 */
STORE_CHECKED enum store_err generate_value(const struct generate_spec *spec,
                                            struct secbuf *ret_value);

#endif
