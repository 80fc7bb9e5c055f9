"""Processes that outlive the program that started them: known by id and birth, since ids are used again."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from loradex.embedded.os_user import Account
from loradex.errors import StackError
from loradex.stack_file import OWNER_ONLY

KILL_AFTER_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.02
LONGEST_LOG = 10_000_000
# A shell between us and the program: the program then has no parent to leave a corpse with.
DETACH = '"$@" >&2 & echo $!'
PROC = Path("/proc")
BOOT = PROC / "sys/kernel/random/boot_id"
# Of /proc/PID/stat, counted behind the program's name, which may hold anything.
START_FIELD = 19


class Identity(NamedTuple):
    """A process, and no later one that was given the same id.

    Attributes:
        pid: Its id.
        born: When it started, by a clock that nobody can set: the boot, and the kernel's ticks since then.
    """

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """The process that has this id now.

        Raises:
            psutil.NoSuchProcess: None has.
        """
        return cls(pid, _birth(pid))

    @classmethod
    def recorded(cls, part: Mapping[str, Any]) -> "Identity | None":
        """The process a part of the record names."""
        return cls(part["pid"], part["born"]) if {"pid", "born"} <= part.keys() else None

    def process(self) -> psutil.Process | None:
        """The process if it lives; a dead one that nobody has collected yet does not."""
        try:
            process = psutil.Process(self.pid)
            same = _birth(self.pid) == self.born
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        return self.process() is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; whether it came. It need not be collected: many a container's first process never does."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_SECONDS)
        return True


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    directory: Path,
    environment: Mapping[str, str],
    account: Account | None = None,
) -> Identity:
    """Start a program in a session of its own: neither Ctrl-C nor the end of its parent reaches it.

    What it prints is appended to `log`. It runs as `account`, by default as this process's user. The log and what
    the program writes are for their owner alone.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shorten(log)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY), "ab") as output:
        started = subprocess.run(
            ["/bin/sh", "-c", DETACH, "sh", *command],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
            umask=0o077,
            check=True,
            **borrowed(account),
        )
    pid = int(started.stdout)
    try:
        return Identity.of(pid)
    except psutil.NoSuchProcess:
        return Identity(pid, "")


def borrowed(account: Account | None) -> dict[str, Any]:
    """Arguments of `subprocess.run` that make a program run as `account`."""
    if account is None:
        return {}
    return {"user": account.user, "group": account.group, "extra_groups": []}


def stop(identity: Identity | None, patience: float = KILL_AFTER_SECONDS) -> bool:
    """Ask a process to end, and end it when it has not within `patience` seconds; whether it ran.

    Raises:
        StackError: It belongs to another user.
    """
    process = None if identity is None else identity.process()
    if identity is None or process is None:
        return False
    try:
        process.terminate()
        if not identity.ends_within(patience):
            process.kill()
            identity.ends_within(patience)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied as error:
        raise StackError(f"process {process.pid} belongs to another user: stop it as that user") from error
    return True


def shorten(log: Path) -> None:
    """Put a log that has grown long aside, over the one put aside before."""
    if log.exists() and log.stat().st_size > LONGEST_LOG:
        log.replace(log.with_suffix(".old.log"))


def last_lines(log: Path, count: int = 3) -> str:
    """The end of a log, on one line."""
    if not log.exists():
        return "(no log)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(_reason(line.strip()) for line in lines[-count:])


def _reason(line: str) -> str:
    """What a line says to people: of our own programs' JSON the reason or the event."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    return str(said.get("reason") or said.get("event") or line) if isinstance(said, dict) else line


def _birth(pid: int) -> str:
    """When a process started; no later process with its id has the same birth."""
    if not (PROC / "self" / "stat").exists():
        return str(psutil.Process(pid).create_time())  # systems without /proc keep this in the kernel
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    boot = BOOT.read_text(encoding="ascii").strip() if BOOT.exists() else "boot"
    return f"{boot} {int(fields[START_FIELD])}"
