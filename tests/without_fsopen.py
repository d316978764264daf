"""Run a program where fsopen(2) is a call that the kernel doesn't have: without_fsopen.py PROGRAM ARG…"""

import ctypes
import errno
import os
import sys

ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO()
NO_NEW_PRIVS = 3  # SCMP_FLTATR_CTL_NNP


def main():
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ALLOW)))
    call = seccomp.seccomp_syscall_resolve_name(b"fsopen")
    assert seccomp.seccomp_attr_set(rules, NO_NEW_PRIVS, ctypes.c_uint32(0)) == 0
    refusal = ctypes.c_uint32(ERRNO | errno.ENOSYS)
    assert seccomp.seccomp_rule_add(rules, refusal, call, ctypes.c_uint(0)) == 0
    assert seccomp.seccomp_load(rules) == 0
    os.execv(sys.argv[1], sys.argv[1:])


main()
