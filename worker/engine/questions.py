"""A row made ready for the model, and its groups."""

from collections.abc import Hashable, Iterator, Sequence
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
        alone: Whether no other row may be computed in one pass with it: something broke in company.
        only: Whether no other row may be in hand beside it: memory did not suffice.
        said: Characters of its text that were given out before it began again.
    """

    ticket: Ticket
    row: Row
    ids: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...] = ()
    grammar: "LLMatcher | None" = field(default=None, repr=False, compare=False)
    alone: bool = False
    only: bool = False
    said: int = 0

    @property
    def most_tokens(self) -> int:
        """Tokens of prompt and answer at most."""
        if self.choices:
            return len(self.ids) + max(map(len, self.choices))
        return len(self.ids) + self.row.max_new_tokens


def twins(questions: Sequence[Question]) -> list[list[Question]]:
    """The questions in groups, in the order of each one's first: texts after one prompt, by one mixture.

    Until their first token they are computed alike, whatever else they ask for. What has choices is by itself.
    """
    groups: dict[Hashable, list[Question]] = {}
    for question in questions:
        key = (question.ids, question.row.recipe) if not question.choices else question.ticket
        groups.setdefault((bool(question.choices), key), []).append(question)
    return list(groups.values())


def slices_by_length(questions: Sequence[Question], tokens: int) -> Iterator[slice]:
    """Neighbours of near length, for questions sorted by length; see `worker.packing.pack_by_length`."""
    lengths = [len(question.ids) for question in questions]
    first = 0
    for group in pack_by_length(lengths, rows=len(lengths), tokens=tokens):
        yield slice(first, first + len(group))
        first += len(group)
