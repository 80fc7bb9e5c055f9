"""A row made ready for the model, and its groups."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loradex.worker.engine.rows import Row
from loradex.worker.isolation import Failure
from loradex.worker.packing import pack_by_length

UNWANTED: Final = Failure("unwanted", "nobody wants this answer any more")


def never() -> bool:
    """What nobody speaks against is wanted."""
    return False


@dataclass(frozen=True)
class Question:
    """A row with its tokens.

    Attributes:
        place: Where its result goes.
        row: What was asked.
        ids: Tokens of the prompt.
        choices: Tokens of each choice.
        unwanted: Whether nobody wants its answer any more; asked again and again while it is computed.
    """

    place: int
    row: Row
    ids: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...] = ()
    unwanted: Callable[[], bool] = never


def slices_by_length(questions: Sequence[Question], tokens: int) -> Iterator[slice]:
    """Neighbours of near length, for questions sorted by length; see `worker.packing.pack_by_length`."""
    lengths = [len(question.ids) for question in questions]
    first = 0
    for group in pack_by_length(lengths, rows=len(lengths), tokens=tokens):
        yield slice(first, first + len(group))
        first += len(group)
