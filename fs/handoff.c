/*
 * One message on a SOCK_SEQPACKET socket, built in locked memory.
 */
#include "handoff.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool handoff_send(int socket, const struct handoff *handoff, const struct secbuf *root_key)
{
    SECBUF_AUTO struct secbuf message = SECBUF_INIT;

    if (secbuf_alloc(&message, sizeof *handoff) != STORE_OK || root_key->len != STORE_KEY_BYTES) {
        errno = ENOMEM;
        return false;
    }
    memcpy(message.data, handoff, sizeof *handoff);
    memcpy(message.data + offsetof(struct handoff, root_key), root_key->data, STORE_KEY_BYTES);
    return send(socket, message.data, sizeof *handoff, MSG_NOSIGNAL) == (ssize_t)sizeof *handoff;
}

bool handoff_receive(int socket, struct handoff *ret_handoff, struct secbuf *ret_root_key)
{
    SECBUF_AUTO struct secbuf message = SECBUF_INIT;
    ssize_t n;

    if (secbuf_alloc(&message, sizeof *ret_handoff) != STORE_OK ||
        secbuf_alloc(ret_root_key, STORE_KEY_BYTES) != STORE_OK)
        return false;
    do
        n = recv(socket, message.data, sizeof *ret_handoff, MSG_WAITALL);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *ret_handoff)
        return false;
    unsigned char *key = message.data + offsetof(struct handoff, root_key);
    memcpy(ret_root_key->data, key, STORE_KEY_BYTES);
    ret_root_key->len = STORE_KEY_BYTES;
    memset(key, 0, STORE_KEY_BYTES);
    memcpy(ret_handoff, message.data, sizeof *ret_handoff);
    return true;
}
