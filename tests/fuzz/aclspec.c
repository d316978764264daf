/* ACLs as text, as secretctl takes them. */
#include "aclspec.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct aclspec spec;
    struct acl_problem problem;
    struct acl_line lines[ACL_LINES_MAX];
    struct policy policy = policy_make(0, 0, 0640);
    char *text = malloc(len + 1);

    FUZZ_PROMISE(text != NULL);
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    spec = (struct aclspec){0};
    bool good = aclspec_modify(&spec, text, &problem);
    if (!good)
        FUZZ_PROMISE(problem.reason != NULL && memchr(problem.entry, 0, sizeof problem.entry));
    if (good && aclspec_apply(&spec, &policy) == STORE_OK) {
        FUZZ_PROMISE(policy_valid(&policy));
        FUZZ_PROMISE(aclspec_lines(&policy, lines) <= ACL_LINES_MAX);
    }
    if (aclspec_remove(&spec, text, &problem) && aclspec_apply(&spec, &policy) == STORE_OK)
        FUZZ_PROMISE(policy_valid(&policy));
    free(text);
    return 0;
}
