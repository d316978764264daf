/*
 * Telling the service manager how we are (sd_notify(3)). Without libsystemd, or outside of a
 * service, nothing.
 */
#ifndef FS_READY_H
#define FS_READY_H

/* `state` as sd_notify(3) takes it, such as "READY=1". */
void ready_notify(const char *state);

#endif
