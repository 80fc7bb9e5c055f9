"""An anchor that is a file, such as one on write-once media or on another machine's disk: one JSON line a head."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from loradex.errors import AnchorError
from loradex.service.audit.anchors.anchor import Kept, bounded
from loradex.service.audit.head import Head, hash_of

LONGEST_LINE = 1000


class FileAnchor:
    """Heads are appended and reach the disk before `keep` returns."""

    def __init__(self, path: str) -> None:
        self._path = Path(unquote(path))
        self.name = str(self._path)

    def keep(self, head: Head) -> None:
        line = json.dumps(
            {
                "position": head.position,
                "chain_hash": head.chain_hash,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, f"{line}\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise AnchorError(f"{self.name} cannot be written: {error.strerror}") from error

    def heads(self) -> Iterator[Kept]:
        yield from bounded(self.name, self._lines())

    def _lines(self) -> Iterator[Kept]:
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                    yield self._kept(number, line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AnchorError(f"{self.name} cannot be read: {error.strerror}") from error

    def _kept(self, number: int, line: bytes) -> Kept:
        try:
            told = json.loads(line)
            at = datetime.fromisoformat(told["at"])
            return Kept(int(told["position"]), hash_of(told["chain_hash"]).hex(), at.astimezone(UTC))
        except Exception as error:  # whatever a line may hold
            raise AnchorError(f"{self.name}: line {number} is not a head; somebody else wrote it") from error
