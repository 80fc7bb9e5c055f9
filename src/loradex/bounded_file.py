"""Files that somebody names, read up to a bound: a disk, a pipe or a device holds more than a memory does."""

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, AnyStr


def bounded_bytes(path: Path, most: int) -> bytes:
    """All of a file of at most `most` bytes, whatever its size is said to be.

    Raises:
        OSError: It cannot be read, is a directory, or has more; then with `EFBIG`.
    """
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than the {most:,} bytes such a file may have", os.fspath(path))
    return content


def bounded_text(path: Path, most: int) -> str:
    """As `bounded_bytes`, in UTF-8.

    Raises:
        OSError: As `bounded_bytes`.
        UnicodeDecodeError: It is not UTF-8.
    """
    return bounded_bytes(path, most).decode("utf-8")


def bounded_lines(stream: IO[AnyStr], most: int, together: int) -> Iterator[AnyStr]:
    """The lines of a stream, each with its end.

    Args:
        stream: Bytes, or text.
        most: Bytes, or characters, that a line may have with its end.
        together: The same of all lines.

    Raises:
        OSError: A line, or all of them, have more (`EFBIG`).
    """
    read = 0
    for number in count(1):
        line = stream.readline(most + 1)
        if not line:
            return
        read += len(line)
        if len(line) > most:
            raise OSError(errno.EFBIG, f"line {number} is longer than {most:,} bytes, and none may be")
        if read > together:
            raise OSError(errno.EFBIG, f"more than the {together:,} bytes such a file may have; split it")
        yield line
