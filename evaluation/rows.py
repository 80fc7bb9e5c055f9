"""Which rows of a task's file are asked: of test rows the first ones, of held-out ones a draw."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loradex.errors import InvalidArgumentError, TaskCardError
from loradex.library.cards import TaskCard
from loradex.library.example_file import load_examples
from loradex.library.examples import Example
from loradex.library.rendered import example_sha256
from loradex.worker.engine.training.settings import DIGITS

SEED = 5
"""Of the draw."""
SHOWN = 10
"""Adapters that a sentence names."""


@dataclass(frozen=True)
class Seen:
    """Rows that adapters were trained on, by their cards.

    Attributes:
        ids: Of the rows.
        digits: The first of their hashes, which find a row again that has another id now.
    """

    ids: Collection[str] = ()
    digits: Collection[str] = ()

    def has(self, example: Example, card: TaskCard) -> bool:
        """Whether it is one of them."""
        if example.id in self.ids:
            return True
        sha256 = row_hash(example, card) if self.digits else None
        return sha256 is not None and sha256[:DIGITS] in self.digits


def row_hash(example: Example, card: TaskCard) -> str | None:
    """What `loradex.examples.sha256` would hold; None where the card cannot render it, as is said when it is asked."""
    try:
        return example_sha256(card.render(example.fields), card.target(example))
    except TaskCardError:
        return None


def read_rows(path: Path, card: TaskCard, seen: Seen | None = None) -> list[Example]:
    """The rows of an examples file in its order, without those that were `seen`.

    Raises:
        InvalidArgumentError: There is no such file.
        ExampleFileError: A row of it is refused.
    """
    if not path.is_file():
        raise InvalidArgumentError(f"{path}: no such file; --data names a directory with {path.name}")
    return [
        example
        for example in load_examples(path, {card.name: card})
        if seen is None or not seen.has(example, card)
    ]


def drawn(rows: Sequence[Example], count: int | None) -> list[Example]:
    """Some of the rows, the same ones in every run; files may be in an order that means something."""
    shuffled = list(rows)
    random.Random(SEED).shuffle(shuffled)  # noqa: S311 - the same draw every time is what is wanted
    return shuffled[:count]


def held_out(rows: Sequence[Example], count: int | None, measured: int) -> list[Example]:
    """Some of the rows, behind the first `measured` of the draw, whose labels made the affinities.

    Where too few lie behind, those that were drawn last before make up the number.
    """
    shuffled = drawn(rows, None)
    return [*shuffled[measured:], *reversed(shuffled[:measured])][:count]


def shared(rows: Sequence[Example], count: int | None, measured: int) -> int:
    """How many of `held_out` made the affinities."""
    asked = len(rows) if count is None else min(count, len(rows))
    return max(0, asked - max(0, len(rows) - measured))


def told_of_shared(common: Mapping[str, tuple[int, int]]) -> str:
    """In a sentence, which held-out rows made the affinities too; task → how many of how many."""
    tasks = ", ".join(f"{task} ({shared} of {asked})" for task, (shared, asked) in sorted(common.items()))
    return (
        f"too few rows are left that affinities were not measured on: {tasks}; there the affinity methods look better "
        "than they are. Add training rows, or measure affinities on fewer (`loradex library affinities --again --rows`)"
    )


def told_of_unlisted(adapters: Sequence[str]) -> str:
    """In a sentence, which adapters may have seen the rows that count as held out."""
    shown = ", ".join(adapters[:SHOWN]) + (f" and {more} more" if (more := len(adapters) - SHOWN) > 0 else "")
    return (
        f"cards that do not say which rows their adapter was trained on: {shown}; it may have seen rows that count as "
        "held out, and looks better on these than it is"
    )
