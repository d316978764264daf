/*
 * libsystemd where the build has it.
 */
#include "ready.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

void ready_notify(const char *state)
{
    sd_notify(0, state);
}
#else
void ready_notify(const char *state)
{
    (void)state;
}
#endif
