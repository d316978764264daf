/*
 * secretctl identity: make an identity, or tell the public key of one. Needs no store.
 *
 * Standard output gets the public key and nothing else, so that a script can hand it on.
 */
#include "auto.h"
#include "commands.h"
#include "dirs.h"
#include "keys.h"
#include "output.h"
#include "recipient.h"

#include <errno.h>
#include <string.h>

enum { OPTION_OUT = CLI_OPTION_FIRST };

const struct cli_option identity_options[] = {
    {OPTION_OUT, "out", "F", "write the new identity to this file"},
    {0, NULL, NULL, NULL},
};

static const char *default_path(void)
{
    const char *path = getenv(CREDENTIAL_IDENTITY_VARIABLE);

    return path && path[0] ? path : CREDENTIAL_IDENTITY;
}

static enum status tell(const struct cli *cli, const struct task *task,
                        const struct secbuf *identity)
{
    unsigned char key[RECIPIENT_KEY_BYTES];
    char text[RECIPIENT_TEXT_BYTES];
    enum store_err err = recipient_of(identity, key);

    if (err != STORE_OK)
        return fail_store(task, err);
    recipient_print(key, text);
    if (cli->json)
        return output_json(task,
                           json_pack("{s:s, s:s}", "identity", task->object, "recipient", text));
    puts(text);
    return STATUS_DONE;
}

static enum status make(const struct cli *cli)
{
    const char *out = cli_value(cli, OPTION_OUT);
    const struct task task = {"make the identity", out ? out : default_path()};
    SECBUF_AUTO struct secbuf identity = SECBUF_INIT;
    SECBUF_AUTO struct secbuf text = SECBUF_INIT;
    struct made_dirs dirs = {.file = NULL};
    enum status status;
    enum store_err err = recipient_new_identity(&identity);

    if (err == STORE_OK)
        err = recipient_print_identity(&identity, &text);
    if (err != STORE_OK)
        return fail_store(&task, err);
    text.data[text.len++] = '\n'; /* in the place of a NUL */
    if (dirs_make_parents(task.object, &dirs))
        status = keys_write_file(&task, task.object, &text);
    else
        status =
            fail(&task, STATUS_FAILED, NULL, "making its directory failed: %s", strerror(errno));
    if (status != STATUS_DONE)
        dirs_undo(&dirs);
    dirs_release(&dirs);
    return status == STATUS_DONE ? tell(cli, &task, &identity) : status;
}

static enum status show(const struct cli *cli)
{
    const char *path = cli->identity ? cli->identity : default_path();
    const struct task task = {"show the identity", path};
    const struct credential_source source = {STORE_SLOT_RECIPIENT, (char *)path};
    SECBUF_AUTO struct secbuf identity = SECBUF_INIT;
    enum status status = keys_read(&source, &identity);

    return status == STATUS_DONE ? tell(cli, &task, &identity) : status;
}

enum status identity_run(struct cli *cli)
{
    const char *verb = cli->operands[0];

    if (strcmp(verb, "new") == 0)
        return cli->identity ? fail_usage("identity", "'new' takes '--out', not '--identity'")
                             : make(cli);
    if (strcmp(verb, "show") != 0)
        return fail_usage("identity", "'%s' is neither 'new' nor 'show'", verb);
    return cli_has(cli, OPTION_OUT)
               ? fail_usage("identity", "'show' takes '--identity', not '--out'")
               : show(cli);
}
