"""What a worker says to an engine, and what it hears: answers as they are written."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import Failure

Ticket = Hashable
"""What a row is called by whoever added it; no two rows in hand have the same."""


@dataclass(frozen=True)
class Wrote:
    """A row's text goes on with `text`; the pieces of a row, joined, are its answer's text."""

    ticket: Ticket
    text: str


@dataclass(frozen=True)
class Finished:
    """A row is answered."""

    ticket: Ticket
    result: RowResult


@dataclass(frozen=True)
class Failed:
    """A row cannot be answered; the others go on."""

    ticket: Ticket
    failure: Failure


Event = Wrote | Finished | Failed


@dataclass(frozen=True)
class Usage:
    """What an engine has in hand.

    Attributes:
        running: Rows it computes.
        waits: The rows it holds and has not begun.
        used_bytes: Bytes that the running rows may come to need: keys, values, factors and logits.
        room_bytes: Bytes there are for them.
    """

    running: int
    waits: tuple[Ticket, ...]
    used_bytes: int
    room_bytes: int

    @property
    def waiting(self) -> int:
        """How many rows it holds and has not begun."""
        return len(self.waits)


class AnswerEngine(Protocol):
    """Answers rows that come and go. One thread at a time may use it."""

    def fetch(self, adapters: Mapping[str, Path], row: Row) -> None:
        """Reads adapters that a row names, by content hash, and its constraint. For any thread; raises nothing."""

    def add(self, ticket: Ticket, row: Row, adapters: Mapping[str, Path]) -> None:
        """Takes a row in hand; it begins in a later step, when there is room.

        Args:
            ticket: What it is called by.
            row: The question and its mixture.
            adapters: The directory of each adapter of the mixture, by content hash.

        Raises:
            LoradexError: The row can never be answered here.
        """

    def step(self) -> Sequence[Event]:
        """A short stretch of work for the rows in hand, and what came of it; at once if there are none.

        Raises:
            DeviceBrokenError: The engine can compute nothing more.
        """

    def abort(self, ticket: Ticket) -> None:
        """Lets a row go; nothing is heard of it any more. Does nothing if it is not in hand."""

    def usage(self) -> Usage:
        """What is in hand now."""
