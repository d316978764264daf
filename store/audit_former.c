/*
 * See audit_former.h. The box is made and opened by seal.c, which alone knows the keys.
 */
#include "audit_former.h"
#include "fault.h"

#include <string.h>

enum store_err audit_keys_open(const struct seal_keys *keys, const struct root_record *root,
                               struct audit_keys *ret_keys)
{
    size_t count = root->former_count;
    enum store_err err =
        secbuf_alloc(&ret_keys->bytes, (AUDIT_FORMER_MAX + (size_t)1) * STORE_KEY_BYTES);

    for (size_t i = 0; i < count && !err; i++) {
        ret_keys->last[i] = root->former[i].head.number;
        err = seal_audit_unwrap(keys, root->former[i].box,
                                ret_keys->bytes.data + i * STORE_KEY_BYTES);
    }
    if (err)
        return err;
    seal_audit_key(keys, ret_keys->bytes.data + count * STORE_KEY_BYTES);
    ret_keys->last[count] = UINT64_MAX;
    ret_keys->count = count + 1;
    ret_keys->bytes.len = ret_keys->count * STORE_KEY_BYTES;
    return STORE_OK;
}

void audit_keys_release(struct audit_keys *keys)
{
    secbuf_release(&keys->bytes);
}

enum store_err audit_keys_keep(const struct seal_keys *from, const struct audit_head *head,
                               const struct seal_keys *to, struct root_record *root)
{
    struct audit_keys keys = {.bytes = SECBUF_INIT};
    enum store_err err = audit_keys_open(from, root, &keys);

    if (!err) {
        size_t drop = keys.count > AUDIT_FORMER_MAX;
        struct audit_former added = {.head = *head};
        if (drop)
            memmove(root->former, root->former + 1, sizeof root->former - sizeof *root->former);
        root->former_count = (uint32_t)(keys.count - drop);
        root->former[root->former_count - 1] = added;
        for (size_t i = 0; i < root->former_count; i++)
            seal_audit_wrap(to, keys.bytes.data + (i + drop) * STORE_KEY_BYTES,
                            root->former[i].box);
    }
    audit_keys_release(&keys);
    return err;
}
