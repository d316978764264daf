/*
 * capabilities(7), prctl(2).
 */
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether our user namespace forbids setgroups(2), as one that a plain user has made does. */
static bool setgroups_is_denied(void)
{
    char word[] = "deny";
    FILE *f = fopen("/proc/self/setgroups", "re");
    bool denied = f && fgets(word, sizeof word, f) && strcmp(word, "deny") == 0;
    if (f)
        fclose(f);
    return denied;
}

/*
 * Root's part. A user that has no number in our user namespace is nobody to become there (EINVAL):
 * then the process stays who started it. See user_namespaces(7).
 */
static bool change_user(uint32_t uid, uint32_t gid)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) != 0)
            return false;
    return (setgroups(0, NULL) == 0 || (errno == EPERM && setgroups_is_denied())) &&
           (setresgid(gid, gid, gid) == 0 || errno == EINVAL) &&
           (setresuid(uid, uid, uid) == 0 || errno == EINVAL);
}

bool privileges_drop(uint32_t uid, uint32_t gid, uint32_t capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {
        {.effective = capabilities, .permitted = capabilities}};

    /* A plain user may change none of it, and without new privileges has nothing to gain. */
    return (geteuid() != 0 || change_user(uid, gid)) && syscall(SYS_capset, &header, kept) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 &&
           prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}
