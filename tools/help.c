/*
 * The help, printed from the tables of commands and options.
 *
 * Tests read it to compare the options with the manual page: one option a line, its names first.
 * Must not know any command.
 */
#include "help.h"

#include <stdio.h>
#include <string.h>

#define OPTION_WIDTH 24 /* of the column with the options' names */
#define COMMAND_WIDTH 10

static void print_option(const struct cli_option *option)
{
    char names[64];
    int len = 0;

    if (option->key < CLI_OPTION_STORE)
        len = snprintf(names, sizeof(names), "-%c, ", option->key);
    snprintf(names + len, sizeof(names) - (size_t)len, "--%s%s%s", option->name,
             option->arg ? " " : "", option->arg ? option->arg : "");
    printf("  %-*s  %s\n", OPTION_WIDTH, names, option->help);
}

/* A command may have its own words for what a common option means to it. */
static bool has_own(const struct command *command, int key)
{
    for (const struct cli_option *option = command->options; option && option->name; option++) {
        if (option->key == key)
            return true;
    }
    return false;
}

void help_command(const struct command *command)
{
    printf("usage: secretctl %s%s%s\n", command->name, command->synopsis[0] ? " " : "",
           command->synopsis);
    printf("%s\n\n", command->description);
    for (const struct cli_option *option = command->options; option && option->name; option++)
        print_option(option);
    for (const struct cli_option *option = cli_common_options; option->name; option++) {
        if (cli_applies(option, command) && !has_own(command, option->key))
            print_option(option);
    }
    if (command->notes)
        printf("\n%s", command->notes);
}

void help_all(const struct command *commands)
{
    printf("usage: secretctl [OPTION]... COMMAND [ARGUMENT]...\n"
           "Write and inspect the secrets of an encrypted store.\n\n");
    for (const struct command *command = commands; command->name; command++)
        printf("  %-*s  %s\n", COMMAND_WIDTH, command->name, command->description);
    printf("\nOptions, before or after the command:\n");
    for (const struct cli_option *option = cli_common_options; option->name; option++)
        print_option(option);
    printf("\nPaths are relative to the root of the store. 'secretctl COMMAND --help' tells more.\n"
           "Exit status: 0 done, 1 failed, 2 usage, 3 no such path, 4 can't unlock, 5 integrity,\n"
           "7 '--if-version' did not match.\n");
}

enum status help_run(struct cli *cli)
{
    const struct command *command;

    if (cli->operand_count == 0) {
        help_all(cli->commands);
        return STATUS_DONE;
    }
    command = cli_find(cli->commands, cli->operands[0]);
    if (!command)
        return fail_usage(NULL, "unknown command '%s'", cli->operands[0]);
    help_command(command);
    return STATUS_DONE;
}
