/*
 * Fill a store in one transaction, as an import does, and say how long that took.
 *
 * The secrets are named by their numbers from 0, in folders of FOLDER each that are numbered, too
 * (0: all in one), below DEPTH - 1 further folders named "d".
 */
#include "bench.h"
#include "policy.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_USER 20000 /* of those that an ACL names */

struct plan {
    uint64_t count;
    uint64_t folder;
    uint64_t bytes;
    uint64_t depth;
    uint64_t acl; /* entries that each secret's ACL has */
};

static struct policy policy_of(const struct plan *plan)
{
    struct policy policy = policy_make(0, 0, 0400);

    for (unsigned i = 0; i < plan->acl; i++)
        must(policy_set_entry(&policy, POLICY_USER, FIRST_USER + i, 4), "make an ACL");
    policy_fit_mask(&policy);
    return policy;
}

/* The folders on the way, "" or with a slash at its end. */
static size_t make_folders(struct store *store, const struct plan *plan, char *path)
{
    size_t len = 0;

    for (uint64_t i = 1; i < plan->depth; i++) {
        path[len++] = 'd';
        path[len] = '\0';
        must(store_mkdir(store, path), "make a folder");
        path[len++] = '/';
    }
    path[len] = '\0';
    return len;
}

static void put_one(struct store *store, const struct plan *plan, const struct policy *policy,
                    const char *path, struct secbuf *value)
{
    uint32_t number;

    randombytes_buf(value->data, value->len);
    must(store_put(store, path, value, false, &number), "put");
    if (plan->acl)
        must(store_set_policy(store, path, policy), "set the policy");
}

static void put_all(struct store *store, const struct plan *plan)
{
    SECBUF_AUTO struct secbuf value = SECBUF_INIT;
    const struct policy policy = policy_of(plan);
    char path[STORE_PATH_MAX];
    size_t prefix = make_folders(store, plan, path);
    size_t len = prefix;

    must(secbuf_alloc(&value, plan->bytes), "keep a value");
    value.len = plan->bytes;
    for (uint64_t i = 0; i < plan->count; i++) {
        uint64_t within = plan->folder ? i % plan->folder : i;
        if (plan->folder && within == 0) {
            len = prefix +
                  (size_t)sprintf(path + prefix, "%llu", (unsigned long long)(i / plan->folder));
            must(store_mkdir(store, path), "make a folder");
            path[len++] = '/';
        }
        sprintf(path + len, "%llu", (unsigned long long)within);
        put_one(store, plan, &policy, path, &value);
    }
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: bench_fill STORE KEY-FILE COUNT FOLDER BYTES DEPTH ACL-ENTRIES\n");
        return 2;
    }
    const struct plan plan = {.count = number_of(argv[3]),
                              .folder = number_of(argv[4]),
                              .bytes = number_of(argv[5]),
                              .depth = number_of(argv[6]),
                              .acl = number_of(argv[7])};
    struct store *store = open_store(argv[1], argv[2], STORE_READ_WRITE);

    int64_t begun = now_ns();
    must(store_begin(store), "begin");
    put_all(store, &plan);
    int64_t filled = now_ns();
    must(store_commit(store), "commit");
    int64_t committed = now_ns();
    printf("fill puts %lld commit %lld\n", (long long)(filled - begun),
           (long long)(committed - filled));
    store_close(store);
    return 0;
}
