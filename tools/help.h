/*
 * The help, generated from the same tables that drive the parsing.
 *
 * Must not know any command.
 */
#ifndef TOOLS_HELP_H
#define TOOLS_HELP_H

#include "cli.h"

/* secretctl --help: all commands, and the common options. */
void help_all(const struct command *commands);

/* secretctl COMMAND --help: usage, one line on what it does, one line an option, and the notes. */
void help_command(const struct command *command);

/* secretctl help [COMMAND] */
enum status help_run(struct cli *cli);

#endif
