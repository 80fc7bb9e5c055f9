"""What rows in hand may come to need, in bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from loradex.worker.engine.bank import Key
from loradex.worker.engine.choose import LOGIT_TOKENS
from loradex.worker.engine.compose import keys_of
from loradex.worker.engine.questions import Question


@dataclass(frozen=True)
class Sizes:
    """What one of each takes.

    Attributes:
        token: Bytes of keys and values for each token of a row.
        slot: Bytes of one adapter's factors; a row that merges has as many of its own.
        row: Bytes of a row's logits.
        read: Bytes of the logits of one token of a choice.
    """

    token: int
    slot: int
    row: int
    read: int


@dataclass
class Tally:
    """Rows beside each other: all are padded to the longest, and each adapter they name is held once.

    Attributes:
        longest: Tokens of a row: of its prompt and its text, or of its prompt where it has choices.
        choosing: Rows with choices. What is read of these lies behind some prompts at a time.
        tail: Tokens that are read behind such a prompt at most.
    """

    sizes: Sizes
    rows: int = 0
    longest: int = 0
    named: set[Key] = field(default_factory=set)
    choosing: int = 0
    tail: int = 0

    @classmethod
    def of(cls, sizes: Sizes, questions: Iterable[Question]) -> "Tally":
        made = cls(sizes)
        for question in questions:
            made.add(question)
        return made

    @property
    def bytes(self) -> int:
        """What they may come to need."""
        behind = self.choosing * self.tail
        # Behind a copy of the prompts of some rows, if that takes less (see `ranking.py`).
        copied = self.choosing * self.longest + LOGIT_TOKENS
        tokens = self.rows * self.longest + min(behind, copied)
        # Logits of prompts are gone when those of choices are there.
        logits = max(self.rows * self.sizes.row, min(behind, LOGIT_TOKENS) * self.sizes.read)
        return tokens * self.sizes.token + logits + (self.rows + len(self.named)) * self.sizes.slot

    def bytes_with(self, question: Question) -> int:
        """What they would need with one more."""
        more = Tally(self.sizes, self.rows, self.longest, set(self.named), self.choosing, self.tail)
        more.add(question)
        return more.bytes

    def add(self, question: Question) -> None:
        self.rows += 1
        self.named.update(keys_of(question.row.recipe))
        if question.choices:
            self.choosing += 1
            self.longest = max(self.longest, len(question.ids))
            tail = sum(len(choice) - 1 for choice in question.choices)
            self.tail = max(self.tail, min(tail, LOGIT_TOKENS))
        else:
            self.longest = max(self.longest, question.most_tokens)
