/*
 * 'secretctl audit summary': who reads what, how often, and what nobody reads. Private to that
 * command.
 */
#ifndef TOOLS_AUDIT_SUMMARY_H
#define TOOLS_AUDIT_SUMMARY_H

#include "audit_query.h"

enum status audit_summary_run(struct cli *cli, const struct audit_query *query);

#endif
