"""An anchor that is a file, such as one on write-once media or on another machine's disk: one JSON line a head."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from loradex.errors import AnchorError
from loradex.service.audit.anchors.anchor import Kept, bounded
from loradex.service.audit.head import Head, hash_of

LONGEST_LINE = 1000
BEGINNING = b'{"position": '
"""Of every line of ours."""


class FileAnchor:
    """Heads are appended and reach the disk before `keep` returns.

    A crash, or a disk that is full, may leave the beginning of a line. It is of a head that nobody was told is kept: it
    is not read, and the next head takes its place.
    """

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
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                with suppress(OSError):  # not every network's file system knows locks
                    fcntl.flock(file, fcntl.LOCK_EX)
                self._append(file, f"{line}\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise AnchorError(f"{self.name} cannot be written: {error.strerror}") from error

    def heads(self) -> Iterator[Kept]:
        yield from bounded(self.name, self._lines())

    def _append(self, file: int, line: bytes) -> None:
        """Write a line behind the last whole one, or nothing."""
        end = os.fstat(file).st_size
        tail = os.pread(file, LONGEST_LINE, max(end - LONGEST_LINE, 0)).rpartition(b"\n")[2]
        if _torn(tail):
            end -= len(tail)
            os.ftruncate(file, end)
        elif tail:
            line = b"\n" + line
        try:
            while line:
                line = line[os.write(file, line) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, end)
            raise

    def _lines(self) -> Iterator[Kept]:
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                    if not _torn(line):
                        yield self._kept(number, line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AnchorError(f"{self.name} cannot be read: {error.strerror}") from error

    def _kept(self, number: int, line: bytes) -> Kept:
        try:
            return _parsed(line)
        except Exception as error:  # whatever a line may hold
            raise AnchorError(f"{self.name}: line {number} is not a head; somebody else wrote it") from error


def _parsed(line: bytes) -> Kept:
    told = json.loads(line)
    at = datetime.fromisoformat(told["at"])
    return Kept(int(told["position"]), hash_of(told["chain_hash"]).hex(), at.astimezone(UTC))


def _torn(line: bytes) -> bool:
    """Whether it is the beginning of a line of ours: without its end, it is the last of the file."""
    ours = line.startswith(BEGINNING) or BEGINNING.startswith(line)
    return bool(line) and ours and not line.endswith((b"\n", b"}"))
