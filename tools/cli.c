/*
 * Parsing of the command line, on getopt_long(3), driven by the options' tables.
 *
 * Two passes: common options up to the command's name, then everything behind it, in any order.
 * What is wrong is reported in the tool's own words, so getopt stays silent. Must not know any
 * command.
 */
#include "cli.h"

#include "anchor.h"
#include "audit_journal.h"
#include "credential.h"
#include "text.h"

#include <assert.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 40 /* of one command, with the common ones */

const struct cli_option cli_common_options[] = {
    {CLI_OPTION_STORE, "store", "F", "the store (default $SECRETFS_STORE, " CLI_STORE_DEFAULT ")"},
    {CLI_OPTION_ANCHOR, "anchor", "D",
     "the folder of its anchor (default $" ANCHOR_VARIABLE ", '" ANCHOR_FOLDER
     "' beside the store)"},
    {CLI_OPTION_AUDIT, "audit", "F",
     "record in this file, or '" AUDIT_NONE "' (default $" AUDIT_VARIABLE ")"},
    {CLI_OPTION_AUDIT_JOURNAL, "audit-journal", NULL,
     "and in the journal, too (also where $" AUDIT_JOURNAL_VARIABLE " is set)"},
    {CLI_OPTION_KEY_FILE, "key-file", "F",
     "the key file (default $" CREDENTIAL_KEY_FILE_VARIABLE
     ", $CREDENTIALS_DIRECTORY/" CREDENTIAL_NAME ", " CREDENTIAL_KEY_FILE ")"},
    {CLI_OPTION_PASSPHRASE_FD, "passphrase-fd", "N",
     "read the passphrase from descriptor N, up to a newline or the end"},
    {CLI_OPTION_IDENTITY, "identity", "F",
     "the identity (default $" CREDENTIAL_IDENTITY_VARIABLE ", " CREDENTIAL_IDENTITY ")"},
    {CLI_OPTION_UNLOCK_COMMAND, "unlock-command", "F",
     "run this program, whose standard output is the key"},
    {CLI_OPTION_NO_WAIT, "no-wait", NULL, "do not wait until the mounts show the change"},
    {CLI_OPTION_JSON, "json", NULL, "print JSON"},
    {CLI_OPTION_HELP, "help", NULL, "print this help"},
    {CLI_OPTION_VERSION, "version", NULL, "print the version of secretctl"},
    {0, NULL, NULL, NULL},
};

/* The tables in the form getopt_long(3) takes. */
struct parser {
    const struct cli_option *options[OPTIONS_MAX];
    size_t count;
    struct option longs[OPTIONS_MAX + 1];
    char shorts[2 * OPTIONS_MAX + 3];
};

bool cli_applies(const struct cli_option *option, const struct command *command)
{
    if (option->key == CLI_OPTION_JSON)
        return !command || command->json;
    if (option->key == CLI_OPTION_NO_WAIT)
        return !command || command->writes;
    if (option->key == CLI_OPTION_VERSION)
        return !command;
    return true;
}

static void parser_add(struct parser *parser, const struct cli_option *options,
                       const struct command *command)
{
    size_t at = strlen(parser->shorts);

    for (; options && options->name; options++) {
        if (!cli_applies(options, command))
            continue;
        assert(parser->count < OPTIONS_MAX);
        parser->options[parser->count] = options;
        parser->longs[parser->count].name = options->name;
        parser->longs[parser->count].has_arg = options->arg ? required_argument : no_argument;
        parser->longs[parser->count].val = options->key;
        parser->count++;
        if (options->key < CLI_OPTION_STORE) {
            parser->shorts[at++] = (char)options->key;
            if (options->arg)
                parser->shorts[at++] = ':';
        }
    }
}

static const struct cli_option *parser_find(const struct parser *parser, int key)
{
    for (size_t i = 0; i < parser->count; i++) {
        if (parser->options[i]->key == key)
            return parser->options[i];
    }
    return NULL;
}

/* Name what getopt_long(3) stumbled over. The argument of an option may be anything: not printed.
 */
static enum status report(const struct cli *cli, const struct parser *parser, int found,
                          const char *word)
{
    const char *command = cli->command ? cli->command->name : NULL;
    const struct cli_option *option = optopt ? parser_find(parser, optopt) : NULL;

    if (found == ':' && option)
        return fail_usage(command, "option '--%s' needs an argument", option->name);
    if (option)
        return fail_usage(command, "option '--%s' takes no argument", option->name);
    if (optopt)
        return fail_usage(command, "unknown option '-%c'", optopt);
    return fail_usage(command, "unknown option '%.*s'", (int)strcspn(word, "="), word);
}

static enum status take_common(struct cli *cli, const struct cli_option *option, const char *arg)
{
    const char *command = cli->command ? cli->command->name : NULL;
    uint32_t fd;

    switch (option->key) {
    case CLI_OPTION_STORE:
        cli->store_path = arg;
        break;
    case CLI_OPTION_ANCHOR:
        cli->anchor = arg;
        break;
    case CLI_OPTION_AUDIT:
        cli->audit = arg;
        break;
    case CLI_OPTION_AUDIT_JOURNAL:
        cli->audit_journal = true;
        break;
    case CLI_OPTION_KEY_FILE:
        cli->key_file = arg;
        break;
    case CLI_OPTION_IDENTITY:
        cli->identity = arg;
        break;
    case CLI_OPTION_UNLOCK_COMMAND:
        cli->unlock_command = arg;
        break;
    case CLI_OPTION_PASSPHRASE_FD:
        if (!text_number(arg, INT_MAX, &fd))
            return fail_usage(command, "'--passphrase-fd' takes the number of a descriptor");
        cli->passphrase_fd = (int)fd;
        break;
    case CLI_OPTION_NO_WAIT:
        cli->no_wait = true;
        break;
    case CLI_OPTION_JSON:
        cli->json = true;
        break;
    case CLI_OPTION_HELP:
        cli->help = true;
        break;
    case CLI_OPTION_VERSION:
        cli->version = true;
        break;
    default:
        break;
    }
    if (arg && arg[0] == '\0')
        return fail_usage(command, "the argument of '--%s' is empty", option->name);
    return STATUS_DONE;
}

static enum status take(struct cli *cli, const struct cli_option *option, const char *arg)
{
    struct cli_given *grown;

    if (option->key >= CLI_OPTION_STORE && option->key < CLI_OPTION_FIRST)
        return take_common(cli, option, arg);
    grown = reallocarray(cli->given, cli->given_count + 1, sizeof(*grown));
    if (!grown)
        return fail_code(&(struct task){"read", "the command line"}, STORE_ERR_NO_MEMORY);
    cli->given = grown;
    cli->given[cli->given_count++] = (struct cli_given){option->key, arg};
    return STATUS_DONE;
}

/*
 * The next option, as getopt_long(3) returns it, and the word it stands in. Abbreviated names,
 * which getopt_long(3) takes, are unknown here: every option added later would change what they
 * mean.
 */
static int next_option(const struct parser *parser, int argc, char **argv, const char **ret_word)
{
    int index = -1;
    int found = getopt_long(argc, argv, parser->shorts, parser->longs, &index);
    const char *name = index >= 0 ? parser->longs[index].name : NULL;

    *ret_word = argv[optind - 1];
    if (found == -1 || found == '?' || found == ':' || !name)
        return found;
    if (optarg == *ret_word)
        *ret_word = argv[optind - 2];
    if (strcspn(*ret_word, "=") == strlen(name) + 2)
        return found;
    optopt = 0;
    return '?';
}

/* The words behind the first "--" from `at` on. */
static int count_words(int argc, char **argv, int at)
{
    for (; at < argc; at++) {
        if (strcmp(argv[at], "--") == 0)
            return argc - at - 1;
    }
    return 0;
}

/* out: ret_words  how many words stand behind the "--" that ended the options */
static enum status parse_options(struct cli *cli, const struct parser *parser, int argc,
                                 char **argv, int *ret_words)
{
    enum status status = STATUS_DONE;
    const char *word;
    int found;

    opterr = 0;
    optind = 0; /* glibc: begin anew */
    do {
        const struct cli_option *option;
        /* Where there is no further option, only operands stand between here and the "--". */
        *ret_words = count_words(argc, argv, optind > 0 ? optind : 1);
        found = next_option(parser, argc, argv, &word);
        if (found == -1)
            break;
        option = parser_find(parser, found);
        status = option ? take(cli, option, optarg) : report(cli, parser, found, word);
    } while (status == STATUS_DONE);
    return status;
}

static enum status check_operands(const struct cli *cli)
{
    const struct command *command = cli->command;

    if (cli->operand_count < command->min_operands)
        return fail_usage(command->name, "too few arguments");
    if (command->max_operands >= 0 && cli->operand_count > command->max_operands)
        return fail_usage(command->name, "too many arguments");
    /* An unset variable of a script must not turn into the root of the store. */
    for (int i = 0; i < cli->operand_count; i++) {
        if (cli->operands[i][0] == '\0')
            return fail_usage(command->name, "an argument is empty; the root is '/'");
    }
    return STATUS_DONE;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] ? value : NULL;
}

static void apply_environment(struct cli *cli)
{
    if (!cli->store_path)
        cli->store_path = environment("SECRETFS_STORE");
    if (!cli->store_path)
        cli->store_path = CLI_STORE_DEFAULT;
    if (!cli->anchor)
        cli->anchor = environment(ANCHOR_VARIABLE);
    if (!cli->audit)
        cli->audit = environment(AUDIT_VARIABLE);
    cli->audit_journal |= environment(AUDIT_JOURNAL_VARIABLE) != NULL;
}

/* How many ways to unlock the store are named. */
static int count_keys(const struct cli *cli)
{
    return (cli->key_file != NULL) + (cli->identity != NULL) + (cli->unlock_command != NULL) +
           (cli->passphrase_fd >= 0);
}

static enum status parse_command(struct cli *cli, int argc, char **argv)
{
    struct parser parser = {.shorts = ":"};
    enum status status;
    int words;

    if (cli->json && !cli->command->json)
        return fail_usage(cli->command->name, "unknown option '--json'");
    parser_add(&parser, cli->command->options, cli->command);
    parser_add(&parser, cli_common_options, cli->command);
    status = parse_options(cli, &parser, argc, argv, &words);
    cli->operands = argv + optind;
    cli->operand_count = argc - optind;
    if (cli->command->max_operands == CLI_WORDS && words > 0) {
        cli->words = argv + argc - words;
        cli->operand_count -= words;
    }
    if (status == STATUS_DONE && !cli->help)
        status = check_operands(cli);
    if (status == STATUS_DONE && count_keys(cli) > 1)
        status = fail_usage(cli->command->name, "'--key-file', '--passphrase-fd', '--identity' and "
                                                "'--unlock-command' exclude each other");
    return status;
}

enum status cli_parse(struct cli *cli, int argc, char **argv)
{
    struct parser parser = {.shorts = "+:"};
    enum status status;
    int words;
    int at;

    cli->passphrase_fd = -1;
    parser_add(&parser, cli_common_options, NULL);
    status = parse_options(cli, &parser, argc, argv, &words);
    if (status != STATUS_DONE)
        return status;
    at = optind;
    if (at < argc && !cli->help && !cli->version) {
        cli->command = cli_find(cli->commands, argv[at]);
        if (!cli->command)
            return fail_usage(NULL, "unknown command '%s'", argv[at]);
        status = parse_command(cli, argc - at, argv + at);
    } else if (!cli->help && !cli->version) {
        status = fail_usage(NULL, "no command given");
    }
    apply_environment(cli);
    return status;
}

void cli_release(struct cli *cli)
{
    free(cli->given);
    cli->given = NULL;
    cli->given_count = 0;
}

const struct command *cli_find(const struct command *commands, const char *name)
{
    for (const struct command *command = commands; command->name; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

static const struct cli_given *find_given(const struct cli *cli, int key)
{
    for (size_t i = cli->given_count; i > 0; i--) {
        if (cli->given[i - 1].key == key)
            return &cli->given[i - 1];
    }
    return NULL;
}

bool cli_has(const struct cli *cli, int key)
{
    return find_given(cli, key) != NULL;
}

const char *cli_value(const struct cli *cli, int key)
{
    const struct cli_given *given = find_given(cli, key);

    return given ? given->arg : NULL;
}

static const char *option_name(const struct command *command, int key)
{
    for (const struct cli_option *option = command->options; option && option->name; option++) {
        if (option->key == key)
            return option->name;
    }
    return "";
}

enum status cli_number(const struct cli *cli, int key, uint32_t min, uint32_t max,
                       uint32_t *ret_number)
{
    const char *text = cli_value(cli, key);
    uint32_t number;

    if (!text)
        return STATUS_DONE;
    if (!text_number(text, max, &number) || number < min)
        return fail_usage(cli->command->name, "'--%s' takes a number from %u to %u",
                          option_name(cli->command, key), min, max);
    *ret_number = number;
    return STATUS_DONE;
}
