"""What the cells say together: percent of the oracle, gain recovered, tasks won, each with its interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loradex.evaluation.cells import Cell, Kept, marks_of, of_case
from loradex.evaluation.plan import IN_DOMAIN, home
from loradex.evaluation.scoring import RESAMPLES, bounds
from loradex.evaluation.wordings import task_of

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One method in one setting, over all tasks.

    Attributes:
        method: What answered.
        tasks: Tasks measured.
        mean: Mean score of the tasks.
        of_own: Mean over the families of family mean / the same of `own` (LoRAuter's aggregate).
        recovered: (method - base) / (own - base), of family means' means.
        wins: Tasks on which it is at least as good as `own`.
        generated: Mean share of written answers that match; None where not measured.
        first: Share of questions whose likeliest task was their own; None without retrieval.
        own_mass: Mean probability of the own task.
        family_mass: Mean probability of the own family.
        nucleus: Mean number of adapters mixed.
    """

    method: str
    tasks: int
    mean: Figure
    of_own: Figure
    recovered: Figure
    wins: int
    generated: float | None
    first: float | None
    own_mass: float | None
    family_mass: float | None
    nucleus: float


def summarise(
    cells: Sequence[Cell],
    setting: str,
    methods: Sequence[str],
    kept_of: Callable[[Cell], Kept] = lambda cell: cell.right,
    seed: int = 0,
) -> list[Line]:
    """A line for each method that was measured on every task `own` and `base` were.

    Resampling draws rows within each task, the same rows for every method, so that lines compare.
    """
    base, own = of_case(cells, IN_DOMAIN, "base"), of_case(cells, IN_DOMAIN, "own")
    tasks = sorted(base.keys() & own.keys())
    lines = []
    for method in methods:
        found = of_case(cells, home(setting, method), method)
        if not tasks or not found.keys() >= set(tasks):
            continue
        drawn = [
            draws_of([kept_of(table[task]) for table in (found, base, own)], task, seed) for task in tasks
        ]
        given, bare, oracle = (np.stack([draw[side] for draw in drawn]) for side in range(3))
        families = [found[task].family for task in tasks]
        written = [cell.generated for task in tasks if (cell := found[task]).generated is not None]
        lines.append(
            Line(
                method=method,
                tasks=len(tasks),
                mean=figure_of(given.mean(axis=0)),
                of_own=figure_of(percent_of(given, oracle, families)),
                recovered=figure_of(share_recovered(given, bare, oracle, families)),
                wins=int(np.sum(given[:, 0] >= oracle[:, 0])),
                generated=None
                if not written
                else float(np.mean([marks_of(text).mean() for text in written])),
                first=_mean([found[task].first for task in tasks]),
                own_mass=_mean([found[task].own_mass for task in tasks]),
                family_mass=_mean([found[task].family_mass for task in tasks]),
                nucleus=float(np.mean([found[task].nucleus for task in tasks])),
            )
        )
    return lines


def percent_of(given: Scores, oracle: Scores, families: Sequence[str]) -> Scores:
    """100 times the mean over families of family mean / the oracle's; scores are `[tasks, draws]`.

    Not a number where a family's oracle is never right.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [given[rows].mean(axis=0) / oracle[rows].mean(axis=0) for rows in _of_families(families)]
    percent: Scores = 100 * np.mean(shares, axis=0)
    return percent


def share_recovered(given: Scores, base: Scores, oracle: Scores, families: Sequence[str]) -> Scores:
    """(given - base) / (oracle - base), in percent, of means over families; scores are `[tasks, draws]`."""
    means = [family_mean(side, families) for side in (given, base, oracle)]
    with np.errstate(divide="ignore", invalid="ignore"):
        share: Scores = 100 * (means[0] - means[1]) / (means[2] - means[1])
    return share


def family_mean(scores: Scores, families: Sequence[str]) -> Scores:
    """Mean over families of their tasks' mean, `[draws]`; scores are `[tasks, draws]`."""
    mean: Scores = np.mean([scores[rows].mean(axis=0) for rows in _of_families(families)], axis=0)
    return mean


def _of_families(families: Sequence[str]) -> list[list[int]]:
    return [[row for row, name in enumerate(families) if name == family] for family in sorted(set(families))]


def draws_of(sides: Sequence[Kept], task: str, seed: int) -> Scores:
    """Scores `[sides, 1 + RESAMPLES]` of one task: as measured, then of rows drawn again and again.

    In each wording of an unseen task the same rows are drawn: a question that is hard to one is hard to all.
    """
    values = np.stack([marks_of(side) for side in sides])
    rows = values.shape[1]
    generator = np.random.default_rng([seed, *task_of(task).encode()])
    drawn = values[:, generator.integers(0, rows, size=(RESAMPLES, rows))].mean(axis=2)
    return np.concatenate([values.mean(axis=1, keepdims=True), drawn], axis=1)


def figure_of(draws: Scores) -> Figure:
    """The first of `[1 + RESAMPLES]` values, with the interval of the others."""
    finite = draws[1:][np.isfinite(draws[1:])]
    return Figure(float(draws[0]), *(bounds(finite) if len(finite) else (np.nan, np.nan)))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def shares(cells: Mapping[str, Cell], names: Sequence[str], part: str) -> Scores:
    """Matrix `[tasks, names]` of mean weights (`mixture`) or probabilities (`tasks`) of some cells."""
    return np.array([[getattr(cell, part).get(name, 0.0) for name in names] for cell in cells.values()])
