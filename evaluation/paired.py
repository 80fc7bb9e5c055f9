"""Which differences are beyond noise: both sides answered the same rows, so rows are compared with themselves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, inf

import numpy as np

from loradex.evaluation.cells import Cell, Kept, marks_of, of_case
from loradex.evaluation.flips import Compared, luck
from loradex.evaluation.plan import home
from loradex.evaluation.scoring import CONFIDENCE, Marks
from loradex.evaluation.summary import Figure, Scores, draws_of, family_mean, figure_of, percent_of


@dataclass(frozen=True)
class Side:
    """One of two that are compared: a method, with its choices calibrated or as they are."""

    method: str
    calibrated: bool = False

    def marks(self, cell: Cell) -> Kept:
        """How right this side was in the cell."""
        return cell.calibrated if self.calibrated else cell.right

    def __str__(self) -> str:
        return f"{self.method}, calibrated" if self.calibrated else self.method


Pair = tuple[Side, Side]


@dataclass(frozen=True)
class Difference:
    """How far the first of a pair is ahead of the second.

    Attributes:
        pair: Both sides.
        tasks: Tasks that both answered.
        points: Points of percent of own, families weighted alike; where no task has an adapter of its own, points of
            the families' mean score.
        p: How often a difference at least as far from zero comes by the luck of the rows; two-sided (`flips.luck`).
        beyond: Whether it is beyond noise, with all pairs that were asked together counted as tries (Holm 1979).
    """

    pair: Pair
    tasks: int
    points: Figure
    p: float
    beyond: bool


def differences(
    cells: Sequence[Cell], setting: str, pairs: Sequence[Pair], seed: int = 0
) -> list[Difference]:
    """Each pair whose two sides answered the same tasks.

    For the interval, rows are drawn again within each task, the same rows for both sides and for `own` (paired
    bootstrap). The p-value is that of `flips.luck`, where what `own` answered right stays as it is.
    """
    own = of_case(cells, home(setting, "own"), "own")
    found = []
    for pair in pairs:
        first, second = (of_case(cells, home(setting, side.method), side.method) for side in pair)
        tasks = sorted(first.keys() & second.keys() & (own.keys() or first.keys()))
        if not tasks:
            continue
        tables = (first, second, own) if own else (first, second)
        drawn = [
            draws_of(
                [side.marks(table[task]) for side, table in zip((*pair, Side("own")), tables, strict=False)],
                task,
                seed,
            )
            for task in tasks
        ]
        families = [first[task].family for task in tasks]
        draws = _ahead(np.stack(drawn, axis=1), families)
        weights = _weights(families, [float(draw[2, 0]) for draw in drawn] if own else None)
        p = luck(
            [
                Compared(
                    task, weight, marks_of(pair[0].marks(first[task])) - marks_of(pair[1].marks(second[task]))
                )
                for task, weight in zip(tasks, weights, strict=True)
            ],
            seed,
        )
        found.append((pair, len(tasks), figure_of(draws), p))
    beyond = holm([p for *_, p in found])
    return [Difference(*one, sure) for one, sure in zip(found, beyond, strict=True)]


def compare(before: Mapping[str, Cell], after: Mapping[str, Cell], seed: int = 0) -> tuple[Figure, float]:
    """Points of the families' mean score by which one side is ahead of the other, and the p-value.

    A task's rows are drawn, and flipped, alike wherever they were asked, since more settings of the same rows are no
    more rows.

    Args:
        before: What was asked, in which setting → its cell.
        after: The same questions, answered otherwise; what only one side was asked is left out.
        seed: Of the draws.
    """
    asked = sorted(before.keys() & after.keys())
    drawn = [draws_of([after[name].right, before[name].right], before[name].task, seed) for name in asked]
    families = [before[name].family for name in asked]
    p = luck(
        [
            Compared(before[name].task, weight, marks_of(after[name].right) - marks_of(before[name].right))
            for name, weight in zip(asked, _weights(families), strict=True)
        ],
        seed,
    )
    return figure_of(_ahead(np.stack(drawn, axis=1), families)), p


def holm(values: Sequence[float]) -> list[bool]:
    """Which of several p-values hold at once, at the confidence of the intervals (Holm 1979)."""
    sure = [False] * len(values)
    for tried, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[place] * (len(values) - tried) > 1 - CONFIDENCE:
            break
        sure[place] = True
    return sure


def sign_test(first: Marks, second: Marks) -> float:
    """Two-sided p-value of the rows on which one side is better, `[rows]` each; of right and wrong it is McNemar's.

    Rows that both answered equally well say nothing.
    """
    better, worse = int(np.sum(first > second)), int(np.sum(first < second))
    tail = sum(comb(better + worse, count) for count in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / (1 << (better + worse)))


def against(cells: Sequence[Cell], setting: str, pair: Pair) -> dict[str, tuple[float, float]]:
    """Task → points by which the first of the pair is ahead, and their p-value by `sign_test`."""
    first, second = (of_case(cells, home(setting, side.method), side.method) for side in pair)
    ahead = {}
    for task in sorted(first.keys() & second.keys()):
        marks = [marks_of(side.marks(table[task])) for side, table in zip(pair, (first, second), strict=True)]
        ahead[task] = (100 * float(marks[0].mean() - marks[1].mean()), sign_test(*marks))
    return ahead


def _ahead(drawn: Scores, families: Sequence[str]) -> Scores:
    """First minus second, in points, `[draws]`; `drawn` is `[sides, tasks, draws]`, the third side being `own`."""
    first, second, *own = drawn
    if not own:
        return 100 * (family_mean(first, families) - family_mean(second, families))
    return percent_of(first, own[0], families) - percent_of(second, own[0], families)


def _weights(families: Sequence[str], own: Sequence[float] | None = None) -> list[float]:
    """What the score of each task counts in `_ahead`, in points; `own` is `[tasks]`."""
    totals: dict[str, float] = defaultdict(float)
    for family, part in zip(families, own or [1.0] * len(families), strict=True):
        totals[family] += part
    return [100 / (len(totals) * totals[family]) if totals[family] else inf for family in families]
