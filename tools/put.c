/*
 * secretctl put: a new secret, or a new version of one.
 *
 * The value comes from standard input, a file, the terminal or the generator; never from argv,
 * which everybody can read in /proc. It is read before the store's write lock is taken, since a
 * person or a pipe may be slow.
 */
#include "auto.h"
#include "change.h"
#include "commands.h"
#include "edit.h"
#include "generate.h"
#include "input.h"
#include "output.h"
#include "paths.h"
#include "prompt.h"
#include "unlock.h"
#include "versionpick.h"
#include "when.h"

#include <string.h>

enum {
    OPTION_FILE = CLI_OPTION_FIRST,
    OPTION_GENERATE,
    OPTION_EXPIRES,
    OPTION_DESCRIPTION,
    OPTION_IF_VERSION,
    OPTION_FORCE,
    OPTION_LABEL,
};

const struct cli_option put_options[] = {
    {OPTION_FILE, "file", "F", "read the value from a file; '-' is standard input"},
    {OPTION_GENERATE, "generate", "SPEC", "make a random value, such as password:24"},
    EDIT_OPTIONS,
    {OPTION_EXPIRES, "expires", "WHEN", "when its time is over: a date, a duration, or 'never'"},
    {OPTION_DESCRIPTION, "description", "T", "a description, for people"},
    {OPTION_IF_VERSION, "if-version", "N",
     "only if N is the current version; 0: only if there is no such secret"},
    {OPTION_FORCE, "force", NULL, "a new version even if the value is the same"},
    {OPTION_LABEL, "label", "L",
     "what it becomes: current, or pending, while the current one stays"},
    {'p', "parents", NULL, "make missing directories above it (root:root 0755)"},
    {0, NULL, NULL, NULL},
};

struct put_request {
    const char *path;
    struct secbuf value;
    struct generate_spec generate;
    struct policy_edit edit;
    bool conditional;
    uint32_t if_version;
    bool pending;
    uint32_t number; /* the version that became current, or pending */
    int64_t expires_ns;
};

static enum status parse_label(const struct cli *cli, struct put_request *request)
{
    const char *name = cli_value(cli, OPTION_LABEL);
    enum store_label label = STORE_LABEL_CURRENT;

    if (name && (!version_label_parse(name, &label) || label == STORE_LABEL_PREVIOUS))
        return fail_usage("put", "'--label %s' is neither current nor pending", name);
    request->pending = label == STORE_LABEL_PENDING;
    if (request->pending && cli_has(cli, OPTION_FORCE))
        return fail_usage("put", "'--label pending' and '--force' exclude each other");
    return STATUS_DONE;
}

static enum status parse(const struct cli *cli, struct put_request *request)
{
    const char *spec = cli_value(cli, OPTION_GENERATE);
    const char *expires = cli_value(cli, OPTION_EXPIRES);
    enum status status;

    if (cli->operand_count > 1)
        return fail_usage("put", "a value is never an argument, which everybody can read: give it "
                                 "on standard input or with '--file'");
    if (spec && cli_has(cli, OPTION_FILE))
        return fail_usage("put", "'--file' and '--generate' exclude each other");
    if (spec) {
        const char *problem = generate_parse(spec, &request->generate);
        if (problem)
            return fail_usage("put", "'--generate %s': %s", spec, problem);
    }
    if (expires && !when_parse_now(expires, &request->expires_ns))
        return fail_usage("put", "'--expires %s' is not " WHEN_FORMS, expires);
    request->path = cli->operands[0];
    request->edit.umask = cli->umask;
    request->conditional = cli_has(cli, OPTION_IF_VERSION);
    status = cli_number(cli, OPTION_IF_VERSION, 0, UINT32_MAX, &request->if_version);
    if (status == STATUS_DONE)
        status = parse_label(cli, request);
    if (status == STATUS_DONE)
        status = edit_parse_options(cli, &request->edit);
    return status;
}

static enum status ask_value(const struct task *task, struct put_request *request)
{
    AUTO_FREE char *question = NULL;

    if (asprintf(&question, "Value for %s: ", request->path) < 0)
        return fail_code(task, STORE_ERR_NO_MEMORY);
    return prompt_twice(task, STATUS_FAILED, question, STORE_VALUE_MAX, &request->value);
}

static enum status read_value(const struct cli *cli, const struct task *task,
                              struct put_request *request)
{
    const char *file = cli_value(cli, OPTION_FILE);
    enum store_err err;

    if (request->generate.kind) {
        err = generate_value(&request->generate, &request->value);
        return err == STORE_OK ? STATUS_DONE : fail_code(task, err);
    }
    if (file)
        return input_file(task, file, STORE_VALUE_MAX, &request->value);
    if (isatty(STDIN_FILENO))
        return ask_value(task, request);
    return input_file(task, "-", STORE_VALUE_MAX, &request->value);
}

/* --if-version, asked inside the transaction, so that nobody gets in between. */
static enum status check_version(const struct cli *cli, const struct task *task,
                                 const struct put_request *request)
{
    struct store_attr attr = {.number = 0};
    enum store_err err;

    if (!request->conditional)
        return STATUS_DONE;
    err = store_resolve(cli->store, request->path, &attr);
    if (err != STORE_OK && err != STORE_ERR_NOT_FOUND)
        return fail_store(task, err);
    if (err == STORE_OK && attr.kind == STORE_DIRECTORY)
        return fail_code(task, STORE_ERR_IS_DIRECTORY);
    if (attr.number == request->if_version)
        return STATUS_DONE;
    if (err == STORE_ERR_NOT_FOUND)
        return fail(task, STATUS_VERSION, NULL, "there is no such secret, so no version %u of it",
                    request->if_version);
    if (request->if_version == 0)
        return fail(task, STATUS_VERSION, NULL, "it exists already, its current version is %u",
                    attr.number);
    return fail(task, STATUS_VERSION, "look at what changed, and decide again",
                "the current version is %u, not %u", attr.number, request->if_version);
}

static enum store_err write_all(const struct cli *cli, struct put_request *request)
{
    const char *description = cli_value(cli, OPTION_DESCRIPTION);
    struct store *store = cli->store;
    enum store_err err = STORE_OK;

    if (cli_has(cli, 'p'))
        err = paths_make_parents(store, request->path);
    if (err == STORE_OK && request->pending)
        err = store_put_pending(store, request->path, &request->value, &request->number);
    else if (err == STORE_OK)
        err = store_put(store, request->path, &request->value, cli_has(cli, OPTION_FORCE),
                        &request->number);
    if (err == STORE_OK && !edit_empty(&request->edit))
        err = edit_path(store, request->path, &request->edit);
    if (err == STORE_OK && description)
        err = store_set_description(store, request->path, description);
    if (err == STORE_OK && cli_has(cli, OPTION_EXPIRES))
        err = store_set_expiry(store, request->path, request->expires_ns);
    return err;
}

/* A value that nobody could read is not what somebody wants to put. */
static enum status check_readable(const struct cli *cli, const struct task *task,
                                  const struct put_request *request)
{
    char when[OUTPUT_TIME];
    struct store_attr attr;
    enum store_err err = store_resolve(cli->store, task->object, &attr);

    if (request->pending)
        attr.revoked = false; /* the current version may be; what is put is another */
    if (err == STORE_OK)
        err = store_refusal(&attr);
    if (err == STORE_OK)
        return STATUS_DONE;
    if (err != STORE_ERR_EXPIRED)
        return fail_store(task, err);
    output_local_time(attr.expires_ns, when);
    return fail(task, STATUS_FAILED, "give it another time with '--expires WHEN', or 'never'",
                "its time is over since %s", when);
}

static enum status put(struct cli *cli, const struct task *task, struct put_request *request)
{
    static const struct fail_hint hints[] = {
        {STORE_ERR_NOT_FOUND, "there is no such directory",
         "make it with 'secretctl mkdir', or use -p"},
        {STORE_OK, NULL, NULL},
    };
    static const struct fail_hint pending_hints[] = {
        {STORE_ERR_NOT_FOUND, "there is no such secret",
         "put its first version without '--label pending'"},
        {STORE_OK, NULL, NULL},
    };
    enum status status = unlock_store(cli, STORE_READ_WRITE);
    enum store_err err;

    if (status == STATUS_DONE)
        status = read_value(cli, task, request);
    if (status == STATUS_DONE)
        status = change_begin(cli, task);
    if (status == STATUS_DONE)
        status = check_version(cli, task, request);
    if (status != STATUS_DONE)
        return status;
    err = write_all(cli, request);
    if (err == STORE_OK)
        status = check_readable(cli, task, request);
    else
        status = fail_hinted(task, err, request->pending ? pending_hints : hints);
    return status == STATUS_DONE ? change_commit(cli, task) : status;
}

enum status put_run(struct cli *cli)
{
    const struct task task = {"put", cli->operands[0]};
    struct put_request request = {.path = NULL};
    AUTO_FREE char *clean = store_plain_path(cli->operands[0]);
    enum status status = parse(cli, &request);

    if (status == STATUS_DONE)
        status = put(cli, &task, &request);
    secbuf_release(&request.value);
    if (status == STATUS_DONE && cli->json)
        status = output_json(&task, json_pack("{s:s, s:I}", "path", clean ? clean : "", "version",
                                              (json_int_t)request.number));
    return status;
}
