"""A directory that is written beside its place, and takes its name only when it is whole."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from loradex.errors import ArchiveError

PREFIX = ".partial-"
"""Of drafts, and of what a draft took the place of."""


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other programs from writing into a directory, which is made; drafts of one that was killed go.

    Where the file system knows no locks, nobody is kept from it, and drafts stay.

    Raises:
        ArchiveError: Another program writes into it.
        OSError: It cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    opened = os.open(directory, os.O_RDONLY)
    try:
        if _locked(opened, directory):
            for left in directory.glob(f"{PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(opened)


def _locked(opened: int, directory: Path) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ArchiveError(f"another `loradex archive` writes to {directory}: wait for it to end") from None
    except OSError:
        return False
    return True


@contextmanager
def draft(directory: Path) -> Iterator[Path]:
    """A new directory inside of `directory`, for its owner alone; what is left of it at the end goes.

    Raises:
        OSError: It cannot be made.
    """
    made = Path(mkdtemp(prefix=PREFIX, dir=directory))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def take_place(made: Path, place: Path) -> None:
    """Give a draft its name, on the disk before it returns; what had the name goes.

    Raises:
        OSError: It cannot be renamed.
    """
    with draft(place.parent) as before:
        if place.exists():
            place.rename(before / place.name)
        made.rename(place)
        to_disk(place.parent)


def take_away(place: Path) -> None:
    """Remove a directory, all at once to whoever looks.

    Raises:
        OSError: It cannot be renamed.
    """
    with draft(place.parent) as before:
        place.rename(before / place.name)


def to_disk(place: Path) -> None:
    """Wait until a file, or the names in a directory, would survive a power cut."""
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
