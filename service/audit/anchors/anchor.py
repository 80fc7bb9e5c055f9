"""What every anchor can do: keep a head, and give back all it ever kept."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Protocol

from loradex.errors import AnchorError
from loradex.service.audit.head import Head

PATIENCE_SECONDS = 20
MAX_HEADS = 1_000_000
NAME = re.compile(r"(\d{1,19})-([0-9a-f]{64})")
"""How a head is named where each is a file or an object of its own: position and hash."""


@dataclass(frozen=True)
class Kept:
    """A head as an anchor has it, and when the anchor got it."""

    position: int
    chain_hash: str
    at: datetime


class Anchor(Protocol):
    """One place.

    Attributes:
        name: Where it is, without a password.
    """

    name: str

    def keep(self, head: Head) -> None:
        """Add a head to what is kept. Raises `AnchorError` where it cannot."""

    def heads(self) -> Iterator[Kept]:
        """All heads that were ever kept, in any order. Raises `AnchorError` where they cannot be read."""


def file_name(head: Head, suffix: str) -> str:
    """The name of a head that is a file of its own; names sort by position."""
    return f"{head.position:019d}-{head.chain_hash}{suffix}"


def named(name: str, suffix: str) -> tuple[int, str] | None:
    """Position and hash of such a name; None for a file of somebody else."""
    found = NAME.fullmatch(PurePosixPath(name).name.removesuffix(suffix))
    return None if found is None else (int(found[1]), found[2])


@contextmanager
def installed(anchor: str, extra: str) -> Iterator[None]:
    """Around the imports of what an extra brings; `AnchorError` where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise AnchorError(
            f"{anchor} needs a part that is not installed: pip install 'loradex[{extra}]'"
        ) from error


def bounded(anchor: str, heads: Iterable[Kept]) -> Iterator[Kept]:
    """The heads, unless there are absurdly many."""
    for count, head in enumerate(heads):
        if count == MAX_HEADS:
            raise AnchorError(
                f"{anchor} holds more than {MAX_HEADS} heads: begin a new one, and keep this one"
            )
        yield head
