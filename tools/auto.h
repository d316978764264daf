/*
 * Cleanup attributes for what is not secret: memory, descriptors, streams.
 *
 * Secret bytes have SECBUF_AUTO; nothing here wipes anything.
 */
#ifndef TOOLS_AUTO_H
#define TOOLS_AUTO_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void auto_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void auto_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void auto_fclose(FILE **stream)
{
    if (*stream)
        fclose(*stream);
}

#define AUTO_FREE __attribute__((cleanup(auto_free)))
#define AUTO_CLOSE __attribute__((cleanup(auto_close)))
#define AUTO_FCLOSE __attribute__((cleanup(auto_fclose)))

#endif
