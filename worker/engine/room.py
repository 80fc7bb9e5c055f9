"""What rows in hand may come to need, in bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from loradex.worker.engine.bank import Key
from loradex.worker.engine.compose import keys_of
from loradex.worker.engine.questions import Question


@dataclass(frozen=True)
class Sizes:
    """What one of each takes.

    Attributes:
        token: Bytes of keys and values for each token of a row.
        slot: Bytes of one adapter's factors; a row that merges has as many of its own.
        row: Bytes of a row's logits.
    """

    token: int
    slot: int
    row: int


@dataclass
class Tally:
    """Rows beside each other: all are padded to the longest, and each adapter they name is held once."""

    sizes: Sizes
    rows: int = 0
    longest: int = 0
    named: set[Key] = field(default_factory=set)

    @classmethod
    def of(cls, sizes: Sizes, questions: Iterable[Question]) -> "Tally":
        made = cls(sizes)
        for question in questions:
            made.add(question)
        return made

    @property
    def bytes(self) -> int:
        """What they may come to need."""
        held = self.rows + len(self.named)
        return self.rows * (self.longest * self.sizes.token + self.sizes.row) + held * self.sizes.slot

    def bytes_with(self, question: Question) -> int:
        """What they would need with one more."""
        more = Tally(self.sizes, self.rows, self.longest, set(self.named))
        more.add(question)
        return more.bytes

    def add(self, question: Question) -> None:
        self.rows += 1
        self.longest = max(self.longest, question.most_tokens)
        self.named.update(keys_of(question.row.recipe))
