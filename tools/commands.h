/*
 * The commands: what each file of a command gives to the table in main.c. An option's table belongs
 * to the code that understands it; what has none takes the common options only.
 */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "cli.h"

extern const struct cli_option init_options[];
enum status init_run(struct cli *cli);

extern const struct cli_option put_options[];
enum status put_run(struct cli *cli);

extern const struct cli_option get_options[];
enum status get_run(struct cli *cli);

extern const struct cli_option ls_options[];
enum status ls_run(struct cli *cli);

enum status show_run(struct cli *cli);

enum status versions_run(struct cli *cli);

enum status readers_run(struct cli *cli);

extern const struct cli_option rollback_options[];
enum status rollback_run(struct cli *cli);

enum status label_run(struct cli *cli);

extern const struct cli_option revoke_options[];
enum status revoke_run(struct cli *cli);
enum status expire_run(struct cli *cli);

extern const struct cli_option rotation_options[];
enum status rotation_run(struct cli *cli);

extern const struct cli_option rotate_options[];
enum status rotate_run(struct cli *cli);

extern const struct cli_option mkdir_options[];
enum status mkdir_run(struct cli *cli);

enum status mv_run(struct cli *cli);

extern const struct cli_option rm_options[];
enum status rm_run(struct cli *cli);
enum status restore_run(struct cli *cli);
extern const struct cli_option purge_options[];
enum status purge_run(struct cli *cli);

enum status chown_run(struct cli *cli);

enum status chmod_run(struct cli *cli);

extern const struct cli_option setfacl_options[];
enum status setfacl_run(struct cli *cli);

enum status getfacl_run(struct cli *cli);

extern const struct cli_option allow_options[];
enum status allow_run(struct cli *cli);
extern const struct cli_option disallow_options[];
enum status disallow_run(struct cli *cli);

extern const struct cli_option key_options[];
enum status key_run(struct cli *cli);

extern const struct cli_option identity_options[];
enum status identity_run(struct cli *cli);

extern const struct cli_option backup_options[];
enum status backup_run(struct cli *cli);

enum status check_run(struct cli *cli);

enum status anchor_run(struct cli *cli);

extern const struct cli_option audit_options[];
enum status audit_run(struct cli *cli);

enum status status_run(struct cli *cli);

extern const struct cli_option metrics_options[];
enum status metrics_run(struct cli *cli);

extern const struct cli_option watch_options[];
enum status watch_run(struct cli *cli);

enum status upgrade_run(struct cli *cli);

#endif
