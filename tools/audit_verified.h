/*
 * 'secretctl audit verify': whether the record is as it was written. Private to that command.
 */
#ifndef TOOLS_AUDIT_VERIFIED_H
#define TOOLS_AUDIT_VERIFIED_H

#include "cli.h"

enum status audit_verify_run(struct cli *cli);

#endif
