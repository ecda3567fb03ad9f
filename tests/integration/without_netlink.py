"""Execute a command in which every netlink socket is refused, as a strict seccomp profile does."""

import ctypes
import errno
import os
import platform
import struct
import sys

# linux/seccomp.h, linux/filter.h, linux/audit.h
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16  # in struct seccomp_data
SYS_SOCKET = {"x86_64": 41, "aarch64": 198}
AF_NETLINK = 16


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


def refuse_netlink():
    program = [
        instruction(LOAD_WORD, NUMBER),
        instruction(JUMP_IF_EQUAL, SYS_SOCKET[platform.machine()], 0, 3),
        instruction(LOAD_WORD, FIRST_ARGUMENT),
        instruction(JUMP_IF_EQUAL, AF_NETLINK, 0, 1),
        instruction(RETURN, RET_ERRNO | errno.EAFNOSUPPORT),
        instruction(RETURN, RET_ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    wanted = ctypes.create_string_buffer(
        struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in [
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, wanted, 0, 0),
    ]:
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse_netlink()
    os.execvp(sys.argv[1], sys.argv[1:])
