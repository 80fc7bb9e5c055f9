"""A row made ready for the model, and its groups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loradex.worker.engine.protocol import Ticket
from loradex.worker.engine.rows import Row
from loradex.worker.isolation import Failure
from loradex.worker.packing import pack_by_length

if TYPE_CHECKING:
    from llguidance import LLMatcher

UNWANTED: Final = Failure("unwanted", "nobody wants this answer any more")


@dataclass(frozen=True)
class Question:
    """A row with its tokens.

    Attributes:
        ticket: What it is called by.
        row: What was asked.
        ids: Tokens of the prompt.
        choices: Tokens of each choice.
        grammar: What its text is held to, if to anything: a matcher at the beginning, to copy.
        alone: Whether no other row may be computed beside it: something broke in company.
        said: Characters of its text that were given out before it began again.
    """

    ticket: Ticket
    row: Row
    ids: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...] = ()
    grammar: "LLMatcher | None" = field(default=None, repr=False, compare=False)
    alone: bool = False
    said: int = 0

    @property
    def most_tokens(self) -> int:
        """Tokens of prompt and answer at most."""
        if self.choices:
            return len(self.ids) + max(map(len, self.choices))
        return len(self.ids) + self.row.max_new_tokens


def slices_by_length(questions: Sequence[Question], tokens: int) -> Iterator[slice]:
    """Neighbours of near length, for questions sorted by length; see `worker.packing.pack_by_length`."""
    lengths = [len(question.ids) for question in questions]
    first = 0
    for group in pack_by_length(lengths, rows=len(lengths), tokens=tokens):
        yield slice(first, first + len(group))
        first += len(group)
