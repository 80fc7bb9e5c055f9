"""Hosts of their own for workers: network namespaces, each with one cable to this machine that can be pulled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Host:
    """Where a worker runs.

    Attributes:
        name: Its network namespace; empty for this machine itself.
        gateway: The address of this machine, seen from there.
    """

    name: str = ""
    gateway: str = HERE

    @property
    def command(self) -> tuple[str, ...]:
        """What a program's command line begins with, to run there."""
        return ("ip", "netns", "exec", self.name) if self.name else ()

    def pull_cable(self) -> None:
        """No packet comes or goes from now on, and no side is told."""
        _ip("link", "set", self.name, "down")

    def plug_cable(self) -> None:
        _ip("link", "set", self.name, "up")


def may_make_hosts() -> bool:
    """Whether this user may, and this machine has what it takes."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


@contextmanager
def made(count: int) -> Iterator[list[Host]]:
    """So many hosts that see this machine and nothing else."""
    with ExitStack() as undo:
        yield [undo.enter_context(_made(number)) for number in range(count)]


@contextmanager
def _made(number: int) -> Iterator[Host]:
    # Names and networks of this process alone: others may make hosts too.
    network = f"10.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
    name, there = f"lx{os.getpid()}n{number}", f"lx{os.getpid()}t{number}"
    first = 4 * number
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", there, "netns", name)
        _ip("address", "add", f"{network}.{first + 1}/30", "dev", name)
        _ip("link", "set", name, "up")
        _ip("-n", name, "address", "add", f"{network}.{first + 2}/30", "dev", there)
        _ip("-n", name, "link", "set", there, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield Host(name, f"{network}.{first + 1}")
    finally:
        _ip("netns", "del", name)  # the cable goes with it


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
