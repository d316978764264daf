/* See counts.h. */
#include "counts.h"
#include "clock.h"

#include <errno.h>

static enum control_count count_of(int error)
{
    switch (error) {
    case 0:
        return CONTROL_OPENS;
    case EACCES:
        return CONTROL_DENIED;
    case EKEYREVOKED:
        return CONTROL_REVOKED;
    case EKEYEXPIRED:
        return CONTROL_EXPIRED;
    default:
        return CONTROL_FAILED;
    }
}

void counts_open(struct counts *counts, int error, int64_t began_ns)
{
    int64_t took_ns = clock_ns(CLOCK_MONOTONIC) - began_ns;
    unsigned i = 0;

    while (i < CONTROL_LATENCIES - 1 && took_ns > control_latency_us[i] * 1000LL)
        i++;
    counts->events[count_of(error)]++;
    counts->latencies[i]++;
    counts->latency_ns += (uint64_t)took_ns;
}

void counts_denied(struct counts *counts)
{
    counts->events[CONTROL_DENIED]++;
}

void counts_tell(const struct counts *counts, struct control_reply *ret_reply)
{
    for (unsigned i = 0; i < CONTROL_COUNTS; i++)
        ret_reply->counts[i] = counts->events[i];
    for (unsigned i = 0; i < CONTROL_LATENCIES; i++)
        ret_reply->latencies[i] = counts->latencies[i];
    ret_reply->latency_ns = counts->latency_ns;
}
