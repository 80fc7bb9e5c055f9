"""How often luck alone makes a difference as large: the signs of the rows' differences flipped at random."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loradex.evaluation.scoring import Marks
from loradex.evaluation.wordings import task_of

FLIPS = 9999
"""With the rows as they are, one of 10,000: a p-value is never below 0.0001."""
DIGITS = 12
"""Of a row's part: what is equal but for the order of the sums counts as equal."""


@dataclass(frozen=True)
class Compared:
    """One task in one setting or wording.

    Attributes:
        task: Whose rows were asked.
        weight: What the task's mean score counts in the whole.
        ahead: By how much the first side is ahead, row by row.
    """

    task: str
    weight: float
    ahead: Marks


def luck(compared: Sequence[Compared], seed: int = 0) -> float:
    """Two-sided p-value of the weighted sum of the tasks' mean differences, by flipped signs (Fisher 1935).

    If both sides were equally good, each row could as well have gone the other way round. A row has one sign in all
    settings and wordings it was asked in, since more settings of the same rows are no more rows. 1 where a weight is
    no number.
    """
    if not np.isfinite([one.weight for one in compared]).all():
        return 1.0
    rows: dict[tuple[str, int], Marks] = defaultdict(lambda: np.zeros(1))
    for one in compared:
        count = len(one.ahead)
        rows[task_of(one.task), count] = rows[task_of(one.task), count] + one.weight / count * one.ahead
    parts = np.concatenate([*rows.values(), np.zeros(1)])
    largest = float(np.abs(parts).max()) or 1.0
    parts = np.round(parts / largest, DIGITS)
    # Of rows that differ by as much only the number of flipped ones counts, which is quicker drawn than each sign.
    sizes, counts = np.unique(np.abs(parts[parts != 0]), return_counts=True)
    generator = np.random.default_rng(seed)
    drawn = np.zeros(FLIPS)
    for size, count in zip(sizes, counts, strict=True):
        drawn += size * (count - 2.0 * generator.binomial(count, 0.5, FLIPS))
    least = abs(float(parts.sum())) - 10.0 ** (3 - DIGITS) * len(parts)
    return float(1 + np.sum(np.abs(drawn) >= least)) / (1 + FLIPS)
