"""A process that gives up its rights: it opens no file and no connection, starts nothing, and has bounds."""

import ctypes
import os
import resource
import struct
import sys
from typing import Final

NOBODY: Final = 65534
CPU_SECONDS: Final = 120
# https://docs.kernel.org/userspace-api/landlock.html
LANDLOCK_CREATE, LANDLOCK_RESTRICT = 444, 446
LANDLOCK_VERSION: Final = 1
FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""Since which version of Landlock how many rights on files there are."""
NETWORK_SINCE: Final = 4
NO_NEW_PRIVILEGES: Final = 38


def give_up_rights(*, memory: int, output: int) -> None:
    """From now on only what is open already can be read and written, and nothing gives the rights back.

    Where the kernel has Landlock, files cannot be removed or renamed either. A root becomes nobody.

    Args:
        memory: Bytes that may be taken beside what is taken now.
        output: Bytes that a file may grow to.
    """
    taken = _taken_bytes()
    if sys.platform == "linux":
        _landlock()
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_FSIZE: output,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 0,
    }
    if taken is not None:
        bounds[resource.RLIMIT_AS] = taken + memory
    for bound, value in bounds.items():
        resource.setrlimit(bound, (value, value))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _landlock() -> None:
    """No right on any file by name, and none to connect; a kernel without it is left as it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    version = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    if version < 1:
        return
    rights = max(count for since, count in FILE_RIGHTS.items() if since <= version)
    wanted = [(1 << rights) - 1, *([0b11] if version >= NETWORK_SINCE else [])]
    rules = struct.pack(f"={len(wanted)}Q", *wanted)
    ruleset = libc.syscall(LANDLOCK_CREATE, rules, ctypes.c_size_t(len(rules)), 0)
    refused = ruleset < 0 or libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0
    if refused or libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel has Landlock and does not apply it")


def _taken_bytes() -> int | None:
    """Address space of this process; None where the system does not say it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as told:  # noqa: PTH123 - no path to build
            return int(told.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None
