"""The data directory of an embedded Postgres, and the programs that work on it."""

import importlib.util
import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil

from loradex.embedded.os_user import (
    Account,
    copy_for_others,
    enterable,
    give,
    named_account,
    place_outside,
    runnable,
    unused_account,
)
from loradex.embedded.processes import Identity, borrowed
from loradex.embedded.wheel import INSTALLATION, WHEEL
from loradex.errors import StackError

PROGRAMS = "programs-"
VERSION = "18"
SUPERUSER = "loradex"
# Nothing of ours: no secret of this process, no PG* variable, no language that changes messages.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
KILL_SECONDS = 10.0
# Of postmaster.pid; pg_ctl waits for the same word.
STATUS_LINE = 8


class Home(NamedTuple):
    """Where the data are and who owns them; account None means this process's user."""

    data: Path
    account: Account | None


def home_of(directory: Path, recorded: Path | None) -> Home:
    """Where the data are, or should be when there are none yet."""
    link = directory / "pgdata"
    data = recorded if recorded is not None and recorded.exists() else link.resolve()
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise StackError(f"{data} belongs to another user: run as that user, or set LORADEX_HOME")
        return Home(data, None)
    if data.exists():
        owner = data.stat()
        return Home(data, Account(owner.st_uid, owner.st_gid))
    if not enterable(directory) and (data.parent == directory or not data.parent.is_dir()):
        data = place_outside() / "pgdata"
        link.unlink(missing_ok=True)
        link.symlink_to(data)  # so that they are found again without the record
    return Home(data, unused_account(directory))


def programs(home: Home) -> Path:
    """Directory of `postgres` and `initdb`, in a copy where the owner of the data could not reach them.

    Raises:
        StackError: The wheel is not installed, or not made for this machine.
    """
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise StackError(
            "no embedded Postgres here: pip install 'loradex[embedded]', or set LORADEX_DATABASE_URL"
        )
    package = Path(found.origin).parent
    installation = package / INSTALLATION
    if home.account is None or runnable(installation / "bin" / "postgres"):
        return installation / "bin"
    copy = home.data.with_name(f"{PROGRAMS}{version(WHEEL)}")
    if not copy.exists():
        draft = home.data.with_name(f"{PROGRAMS}new")
        shutil.rmtree(draft, ignore_errors=True)
        # The programs find their libraries by a path relative to themselves.
        for part in (f"{WHEEL}.libs", f"{WHEEL}/{INSTALLATION}"):
            copy_for_others(package.parent / part, draft / part)
        draft.chmod(0o755)
        (draft / WHEEL).chmod(0o755)
        draft.rename(copy)
    return copy / WHEEL / INSTALLATION / "bin"


def delete(directory: Path, data: Path) -> None:
    """Delete the data of a directory and what was made for them beside them."""
    link = directory / "pgdata"
    if link.is_symlink():
        link.unlink()
    shutil.rmtree(data, ignore_errors=True)
    for copy in data.parent.glob(f"{PROGRAMS}*"):
        shutil.rmtree(copy)


def create(home: Home, programs: Path) -> None:
    """Make the data directory unless it is there; a creation that was interrupted leaves none.

    Raises:
        StackError: `initdb` failed, or the data are of another version of Postgres.
    """
    made_by = home.data / "PG_VERSION"
    if made_by.exists():
        if made_by.read_text().strip() != VERSION:
            raise StackError(
                f"{home.data} was made by Postgres {made_by.read_text().strip()}, this is {VERSION}: "
                f"dump it with its own version, or move it away"
            )
        return
    draft = home.data.with_name("pgdata.new")
    key = home.data.with_name("pgdata.key")
    shutil.rmtree(draft, ignore_errors=True)
    key.unlink(missing_ok=True)
    maker = None if home.account is None else named_account()
    try:
        draft.mkdir(mode=0o700)
        key.touch(mode=0o600)
        key.write_text(secrets.token_urlsafe(24))
        if maker is not None:
            os.chown(draft, *maker)
            os.chown(key, *maker)
        _initdb(programs, draft, key, maker)
        shutil.move(key, draft / key.name)
        if home.account is not None:
            give(draft, home.account)
        draft.rename(home.data)
    finally:
        key.unlink(missing_ok=True)


def password(data: Path) -> str:
    """The superuser's password; it lies beside the data it opens."""
    return (data / "pgdata.key").read_text().strip()


def accepts(data: Path) -> bool:
    """Whether the server has written that it accepts connections; asking it before that fills its log."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= STATUS_LINE and lines[STATUS_LINE - 1].strip() == "ready"


def clear_leftovers(data: Path) -> None:
    """End what a killed server left behind: children without a parent, and a lock file that names a stranger.

    Postgres takes a lock file for valid when any process of its user has the id in it.
    """
    killed = []
    for process in psutil.process_iter(["name", "cwd"]):
        if _works_in(process, data):
            with suppress(psutil.NoSuchProcess):
                killed.append(Identity.of(process.pid))
                process.kill()
    for identity in killed:
        identity.ends_within(KILL_SECONDS)
    lock = data / "postmaster.pid"
    if lock.exists():
        holder = lock.read_text().partition("\n")[0]
        if not holder.isdigit() or psutil.pid_exists(int(holder)):
            lock.unlink()


def _works_in(process: psutil.Process, data: Path) -> bool:
    return bool(process.info["name"] == "postgres" and process.info["cwd"] == str(data))


def _initdb(programs: Path, data: Path, key: Path, maker: Account | None) -> None:
    made = subprocess.run(
        [
            programs / "initdb",
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            f"--pwfile={key}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        ],
        cwd="/",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        **borrowed(maker),
    )
    if made.returncode != 0:
        raise StackError(f"initdb failed: {' | '.join(made.stderr.strip().splitlines()[-3:])}")
