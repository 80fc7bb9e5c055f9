"""The points of the sweep's curves."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from loradex.evaluation.cells import Cell, marks_of
from loradex.evaluation.scoring import RESAMPLES, bounds

Point = tuple[float, float, float, float]


def series(cells: Sequence[Cell]) -> dict[str, dict[str, list[Point]]]:
    """Option → `setting method` → value, mean score of the tasks and its interval, in percent.

    Where an option was left to the database there is a point too, at the value it has there.
    """
    grouped: dict[tuple[str, str, str, float], list[Cell]] = defaultdict(list)
    for cell in cells:
        for option, value in cell.options.items():
            grouped[option, cell.setting, cell.method, value].append(cell)
    found: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for (option, setting, method, value), own in sorted(grouped.items()):
        found[option][f"{setting} {method}"].append((value, *_mean(own)))
    return {option: dict(lines) for option, lines in found.items()}


def _mean(cells: Sequence[Cell]) -> tuple[float, float, float]:
    """Mean score of the tasks in percent, and its 95 % bootstrap interval, rows drawn within tasks."""
    generator = np.random.default_rng(0)
    draws = []
    for cell in cells:
        values = marks_of(cell.right)
        drawn = generator.integers(0, len(values), size=(RESAMPLES, len(values)))
        draws.append(values[drawn].mean(axis=1))
    low, high = bounds(np.mean(draws, axis=0))
    return 100 * float(np.mean([cell.score for cell in cells])), 100 * low, 100 * high
