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


class StackFile:
    """One JSON object a part, in one file; every write replaces the file whole."""

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
        self._directory.mkdir(parents=True, exist_ok=True)
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
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            with (self._directory / "stack.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except PermissionError as error:
            raise StackError(_not_ours(self._directory)) from error

    def _parts(self) -> dict[str, Any]:
        try:
            parts: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise StackError(_not_ours(self._directory)) from error
        except ValueError as error:
            raise StackError(f"{self.path} is damaged: delete it, then run `loradex up`") from error
        return parts


def _not_ours(directory: Path) -> str:
    return f"{directory} belongs to another user: run as that user, or set LORADEX_HOME to one of yours"
