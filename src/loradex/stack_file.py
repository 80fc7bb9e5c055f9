"""The file `stack.json`: where the parts of the embedded stack are, with passwords, for its owner only."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        private_directory(self._directory)
        draft = self.path.with_suffix(f".{os.getpid()}")
        draft.unlink(missing_ok=True)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(file, "w", encoding="utf-8") as text:
            json.dump(parts, text, indent=2)
            text.write("\n")
        draft.replace(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process starts or stops this stack, and keep others from it."""
        private_directory(self._directory)
        try:
            lock_file = os.open(self._directory / "stack.lock", os.O_WRONLY | os.O_CREAT, OWNER_ONLY)
            with os.fdopen(lock_file, "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except PermissionError as error:
            raise StackError(_not_ours(self._directory)) from error

    def _parts(self) -> dict[str, Any]:
        try:
            parts = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise StackError(_not_ours(self._directory)) from error
        except (ValueError, RecursionError) as error:
            raise self._damaged() from error
        if not _has_shape(parts):
            raise self._damaged()
        return dict(parts)

    def _damaged(self) -> StackError:
        return StackError(f"{self.path} is damaged: delete it, then run `loradex up`; the data stay")


def _has_shape(parts: object) -> bool:
    """Whether this is an object of objects, with values of the types that were written."""
    return isinstance(parts, dict) and all(
        isinstance(part, dict)
        and all(type(value) is _SHAPES.get(name, type(value)) for name, value in part.items())
        for part in parts.values()
    )


def _not_ours(directory: Path) -> str:
    return f"{directory} belongs to another user: run as that user, or set LORADEX_HOME to one of yours"
