"""A row made ready for the model, and its groups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loradex.worker.engine.rows import Row
from loradex.worker.packing import pack_by_length


@dataclass(frozen=True)
class Question:
    """A row with its tokens.

    Attributes:
        place: Where its result goes.
        row: What was asked.
        ids: Tokens of the prompt.
        choices: Tokens of each choice.
    """

    place: int
    row: Row
    ids: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...] = ()


def slices_by_length(questions: Sequence[Question], tokens: int) -> Iterator[slice]:
    """Neighbours of near length, for questions sorted by length; see `worker.packing.pack_by_length`."""
    lengths = [len(question.ids) for question in questions]
    first = 0
    for group in pack_by_length(lengths, rows=len(lengths), tokens=tokens):
        yield slice(first, first + len(group))
        first += len(group)
