/*
 * The command line: what a command is, which options it takes, and what this run was given.
 *
 * Options are declared in tables, and parsing, --help and the tests that compare the manual page
 * are all driven by them. Must not know any single command.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include "fail.h"
#include "progress.h"
#include "store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define CLI_STORE_DEFAULT "/var/lib/secretfs/store.db"

/* Values of max_operands. */
#define CLI_MANY (-1)
#define CLI_WORDS (-2) /* many, and behind "--" a command line of somebody else's */

/*
 * Keys of options without a letter. The common ones come first; a command numbers its own from
 * CLI_OPTION_FIRST.
 */
enum cli_key {
    CLI_OPTION_STORE = 256,
    CLI_OPTION_ANCHOR,
    CLI_OPTION_AUDIT,
    CLI_OPTION_AUDIT_JOURNAL,
    CLI_OPTION_KEY_FILE,
    CLI_OPTION_PASSPHRASE_FD,
    CLI_OPTION_IDENTITY,
    CLI_OPTION_UNLOCK_COMMAND,
    CLI_OPTION_NO_WAIT,
    CLI_OPTION_JSON,
    CLI_OPTION_HELP,
    CLI_OPTION_VERSION,
    CLI_OPTION_FIRST = 512,
};

struct cli_option {
    int key;          /* its letter, or a number from enum cli_key on */
    const char *name; /* the long name, without dashes; NULL ends a table */
    const char *arg;  /* what its argument is called; NULL: takes none */
    const char *help; /* one line */
};

struct cli;

struct command {
    const char *name; /* NULL ends the table */
    enum status (*run)(struct cli *cli);
    int min_operands;
    int max_operands; /* or CLI_MANY, CLI_WORDS */
    bool json;        /* prints data, so it takes --json */
    bool writes;      /* commits, so it takes --no-wait */
    const char *synopsis;
    const struct cli_option *options; /* NULL: only the common ones */
    const char *description;          /* one line */
    const char *notes;                /* further lines for --help, or NULL */
};

/* An option of the command itself that was given. */
struct cli_given {
    int key;
    const char *arg;
};

/* One run. Everything but `store` is settled by cli_parse(). */
struct cli {
    const struct command *commands;
    const struct command *command; /* NULL: none was named */
    bool help;
    bool version;
    bool json;
    bool no_wait;
    const char *store_path;
    const char *anchor;         /* its folder, or NULL for the one beside the store */
    const char *audit;          /* the file of its record, "none", or NULL for the default */
    bool audit_journal;         /* send the journal copies of its lines */
    const char *key_file;       /* or NULL; of these four one is given at most */
    const char *identity;       /* or NULL */
    const char *unlock_command; /* or NULL */
    int passphrase_fd;          /* or -1 */
    struct cli_given *given;    /* in their order */
    size_t given_count;
    char **operands;
    int operand_count;
    char **words;       /* what stands behind "--" with CLI_WORDS, ends with NULL; else NULL */
    mode_t umask;       /* the caller's; the process itself runs with 077 */
    struct rlimit core; /* the same for cores, which the process itself leaves none of */
    struct progress progress;
    struct store *store;   /* unlock_store(); main calls unlock_end() */
    struct record *record; /* record_begin(); likewise; NULL: nothing is recorded yet */
};

/* The options of every command. Ends with a NULL name. */
extern const struct cli_option cli_common_options[];

/* Whether `command` (NULL: what stands before a command) takes this one of them. */
bool cli_applies(const struct cli_option *option, const struct command *command);

/*
 * Take the command line apart. Wrong use is reported.
 * in/out: cli  `commands` is set, all else zero; cli_release() afterwards, also on failure
 */
enum status cli_parse(struct cli *cli, int argc, char **argv);

void cli_release(struct cli *cli);

const struct command *cli_find(const struct command *commands, const char *name);

/* Whether the command's option `key` was given; its argument, the last one's, or NULL. */
bool cli_has(const struct cli *cli, int key);
const char *cli_value(const struct cli *cli, int key);

/*
 * The argument of `key` as a whole number. Wrong ones are reported.
 * out: ret_number  untouched where the option was not given, and on failure
 */
enum status cli_number(const struct cli *cli, int key, uint32_t min, uint32_t max,
                       uint32_t *ret_number);

#endif
