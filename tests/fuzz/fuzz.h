/*
 * What libFuzzer calls, and replay.c with any compiler: whatever the bytes are, a decoder refuses
 * them or takes them, and what it takes makes sense. Returns 0.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Ends the program where a promise is broken. */
#define FUZZ_PROMISE(condition) \
    do {                        \
        if (!(condition))       \
            __builtin_trap();   \
    } while (0)

#endif
