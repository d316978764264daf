/*
 * By plain system calls, as it is also called between fork(2) and execve(2).
 */
#include "oom.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void oom_keep_within(int lowest, int highest)
{
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t done = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    if (done > 0) {
        int score = (int)strtol(text, NULL, 10);
        int wanted = score < lowest ? lowest : score > highest ? highest : score;
        snprintf(text, sizeof text, "%d", wanted);
        if (wanted != score)
            done = write(fd, text, strlen(text)); /* where it isn't allowed, nothing happens */
    }
    (void)done;
    if (fd >= 0)
        close(fd);
}
