/* Durations as text, as secretctl takes them. */
#include "duration.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[64] = "";
    char printed[DURATION_TEXT];
    uint64_t seconds;
    uint64_t again;
    uint64_t max = UINT64_MAX;

    if (len >= sizeof text)
        return 0;
    if (len > 0)
        memcpy(text, data, len);
    if (!duration_parse(text, max, &seconds))
        return 0;
    duration_print(seconds, printed);
    FUZZ_PROMISE(duration_parse(printed, max, &again) && again == seconds);
    FUZZ_PROMISE(seconds == 0 || !duration_parse(text, seconds - 1, &again));
    return 0;
}
