"""Which rows of a task's file are asked: of test rows the first ones, of held-out ones a draw."""

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from loradex.errors import InvalidArgumentError
from loradex.library.cards import TaskCard
from loradex.library.example_file import load_examples
from loradex.library.examples import Example

SEED = 5
"""Of the draw."""


def read_rows(path: Path, card: TaskCard, skip: Collection[str] = ()) -> list[Example]:
    """The rows of an examples file in its order, without those whose ids are in `skip`.

    Raises:
        InvalidArgumentError: There is no such file.
        ExampleFileError: A row of it is refused.
    """
    if not path.is_file():
        raise InvalidArgumentError(f"{path}: no such file; --data names a directory with {path.name}")
    return [example for example in load_examples(path, {card.name: card}) if example.id not in skip]


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
