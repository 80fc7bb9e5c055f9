"""Who the embedded Postgres runs as: it refuses root, so root lends it a user id that nobody has."""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from loradex.errors import StackError

# systemd takes user ids for services without an account from this range; it is free everywhere else too.
FIRST_ID = 61184
COUNT = 65520 - FIRST_ID
HOMES_OF_DATA = (Path("/var/lib"), Path("/var/tmp"), Path(tempfile.gettempdir()))  # noqa: S108


class Account(NamedTuple):
    """A user and group id."""

    user: int
    group: int


def unused_account(directory: Path) -> Account:
    """An account that nobody has, for a Postgres of root.

    The id follows from the directory, so that two stacks do not share one.

    Raises:
        StackError: Every id of the range is taken.
    """
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    start = int.from_bytes(hashlib.sha256(str(directory).encode()).digest()[:4])
    for step in range(COUNT):
        candidate = FIRST_ID + (start + step) % COUNT
        if candidate not in taken:
            return Account(candidate, candidate)
    raise StackError("no free user id for Postgres: run as an ordinary user, or set LORADEX_DATABASE_URL")


def named_account() -> Account:
    """Any account with a name that is not root's: `initdb`, unlike Postgres, insists on a name.

    Raises:
        StackError: This machine knows no user but root.
    """
    entries = sorted(pwd.getpwall(), key=lambda entry: entry.pw_name != "nobody")
    for entry in entries:
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise StackError("this machine has no user but root: add one, or set LORADEX_DATABASE_URL")


def enterable(directory: Path) -> bool:
    """Whether any user may walk into an existing directory."""
    way = (directory.resolve(), *directory.resolve().parents)
    return all(step.stat().st_mode & stat.S_IXOTH for step in way)


def runnable(program: Path) -> bool:
    """Whether any user may walk to an existing program, read it and run it."""
    needed = stat.S_IROTH | stat.S_IXOTH
    return enterable(program.parent) and program.stat().st_mode & needed == needed


def place_outside() -> Path:
    """A new directory that any user may walk to, for a home that only root may enter."""
    for home in HOMES_OF_DATA:
        if home.is_dir() and enterable(home) and os.access(home, os.W_OK):
            place = Path(tempfile.mkdtemp(prefix="loradex-", dir=home))
            place.chmod(0o711)
            return place
    raise StackError("no directory that an unprivileged Postgres can reach: set LORADEX_HOME to one")


def give(directory: Path, account: Account) -> None:
    """Make `account` the owner of a directory and everything in it."""
    os.chown(directory, *account)
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, *account, follow_symlinks=False)


def copy_for_others(source: Path, target: Path) -> None:
    """Copy a tree and let any user read it."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)
