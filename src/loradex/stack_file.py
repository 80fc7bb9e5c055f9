"""The file `stack.json`: where the parts of the embedded stack are, with passwords, for its owner only."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loradex.errors import StackError

OWNER_ONLY = 0o600
_SHAPES: dict[str, type] = {
    "url": str,
    "port": int,
    "password": str,
    "data": str,
    "pid": int,
    "born": str,
    "given": dict,
}
"""What the parts keep under these names; any of them may be absent."""


def private_directory(directory: Path) -> None:
    """Make a directory for its owner alone; one that is there stays as it is.

    Root lends the embedded Postgres another user's id, and that user must pass through to its data.
    """
    directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)


class StackFile:
    """One JSON object for each part, in one file; every write replaces the file whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "stack.json"

    def part(self, name: str) -> dict[str, Any]:
        """What is recorded about a part; empty when nothing is.

        Raises:
            StackError: The file cannot be read, or is not what Loradex wrote.
        """
        return dict(self._parts().get(name, {}))

    def write(self, name: str, part: dict[str, Any]) -> None:
        """Replace what is recorded about a part."""
        parts = self._parts() | {name: part}
        draft = self.path.with_suffix(f".{os.getpid()}")
        with self._usable():
            private_directory(self._directory)
            draft.unlink(missing_ok=True)
            try:
                file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
                with os.fdopen(file, "w", encoding="utf-8") as text:
                    json.dump(parts, text, indent=2)
                    text.write("\n")
                draft.replace(self.path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process starts or stops this stack, and keep others from it."""
        with self._usable():
            private_directory(self._directory)
            lock = os.open(self._directory / "stack.lock", os.O_WRONLY | os.O_CREAT, OWNER_ONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(lock)

    def _parts(self) -> dict[str, Any]:
        parts: object = {}
        try:
            with self._usable(), suppress(FileNotFoundError):
                parts = json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._damaged() from error
        if not isinstance(parts, dict) or not _has_shape(parts):
            raise self._damaged()
        return dict(parts)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """What is done with the directory.

        Raises:
            StackError: It cannot be done, with the cure.
        """
        try:
            yield
        except PermissionError as error:
            raise StackError(_not_ours(self._directory)) from error
        except OSError as error:
            cure = (
                "free some space"
                if error.errno == errno.ENOSPC
                else "set LORADEX_HOME to a directory of yours"
            )
            raise StackError(f"{self._directory}: {error.strerror}; {cure}") from error

    def _damaged(self) -> StackError:
        return StackError(
            f"{self.path} is damaged: end the worker, the API and the Valkey that ran from {self._directory}, "
            "delete the file, then run `loradex up`; the data stay"
        )


def _has_shape(parts: dict[Any, Any]) -> bool:
    """Whether this holds objects, with values of the types that were written."""
    return all(
        isinstance(part, dict)
        and all(type(value) is _SHAPES.get(name, type(value)) for name, value in part.items())
        for part in parts.values()
    )


def _not_ours(directory: Path) -> str:
    return f"{directory} belongs to another user: run as that user, or set LORADEX_HOME to one of yours"
