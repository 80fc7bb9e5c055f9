"""The tables a reader wants, as rows of text."""

from collections.abc import Sequence
from math import isnan

import numpy as np

from loradex.evaluation.cells import Cell, marks_of, of_case
from loradex.evaluation.methods import METHODS
from loradex.evaluation.paired import Difference
from loradex.evaluation.plan import FIXED, UNSEEN, home
from loradex.evaluation.summary import Figure, Line
from loradex.evaluation.wordings import wording_of

Table = list[tuple[str, ...]]


def overview(lines: Sequence[Line], calibrated: Sequence[Line]) -> Table:
    """A line a method: scores, percent of own and gain recovered, also with calibrated choices."""
    with_calibration = {line.method: line for line in calibrated}
    head = (
        "method",
        "mean score",
        "% of own",
        "% of gain",
        "tasks ≥ own",
        "calibrated: score",
        "% of own",
        "written",
        "adapters",
    )
    return [
        head,
        *(
            (
                line.method,
                _figure(line.mean, 100),
                _figure(line.of_own),
                _figure(line.recovered),
                f"{line.wins} of {line.tasks}",
                _figure(with_calibration[line.method].mean, 100),
                _figure(with_calibration[line.method].of_own),
                "" if line.generated is None else f"{100 * line.generated:.1f}",
                f"{line.nucleus:.1f}",
            )
            for line in lines
        ),
    ]


def brief(lines: Sequence[Line], calibrated: Sequence[Line]) -> Table:
    """`overview` as a terminal has room for it: without intervals, in percent."""
    with_calibration = {line.method: line.mean.value for line in calibrated}
    head = ("method", "score", "% of own", "% of gain", "tasks ≥ own", "calibrated")
    return [
        head,
        *(
            (
                line.method,
                f"{100 * line.mean.value:.1f}",
                "" if isnan(line.of_own.value) else f"{line.of_own.value:.1f}",
                "" if isnan(line.recovered.value) else f"{line.recovered.value:.1f}",
                f"{line.wins} of {line.tasks}",
                f"{100 * with_calibration[line.method]:.1f}",
            )
            for line in lines
        ),
    ]


def retrieval(lines: Sequence[Line]) -> tuple[str, ...] | None:
    """Own task first, mass on own task, mass on own family, in percent: the same for all that retrieve."""
    found = [line for line in lines if line.first is not None and line.method not in FIXED]
    if not found:
        return None
    line = found[0]
    return tuple(f"{100 * (value or 0):.1f}" for value in (line.first, line.own_mass, line.family_mass))


def by_task(cells: Sequence[Cell], setting: str) -> Table:
    """A line a task, a column a method; scores in percent with their intervals."""
    columns = {method: of_case(cells, home(setting, method), method) for method in METHODS}
    columns = {method: found for method, found in columns.items() if found}
    tasks = sorted({task: cell.family for found in columns.values() for task, cell in found.items()}.items())
    return [
        ("family", "task", "n", *columns),
        *(
            (
                family,
                task,
                str(next(found[task].n for found in columns.values() if task in found)),
                *(_score(found[task]) if task in found else "" for found in columns.values()),
            )
            for task, family in sorted(tasks, key=lambda item: (item[1], item[0]))
        ),
    ]


def compared(found: Sequence[Difference]) -> Table:
    """A line a pair: points ahead, their interval, and whether that is beyond noise."""
    head = ("method", "against", "points", "p", "beyond noise")
    return [
        head,
        *(
            (
                str(one.pair[0]),
                str(one.pair[1]),
                f"{one.points.value:+.1f} ({one.points.low:+.1f} to {one.points.high:+.1f})",
                f"{one.p:.3f}",
                "yes" if one.beyond else "no",
            )
            for one in found
        ),
    ]


def by_wording(cells: Sequence[Cell]) -> Table:
    """A line a wording and method: mean score of unseen tasks, also calibrated, and how much was thought familiar."""
    asked = [cell for cell in cells if cell.setting == UNSEEN and not cell.options]
    lines = []
    for wording in sorted({wording_of(cell.task) for cell in asked}):
        for method in METHODS:
            found = [cell for cell in asked if (wording_of(cell.task), cell.method) == (wording, method)]
            if found:
                masses = [cell.family_mass for cell in found if cell.family_mass is not None]
                means = [
                    np.mean([marks_of(kept).mean() for kept in side])
                    for side in ([cell.right for cell in found], [cell.calibrated for cell in found])
                ]
                lines.append(
                    (
                        wording,
                        method,
                        str(len(found)),
                        str(sum(cell.n for cell in found)),
                        *(f"{100 * mean:.1f}" for mean in means),
                        f"{100 * np.mean(masses):.1f}" if masses else "",
                    )
                )
    return [("wording", "method", "tasks", "rows", "mean score", "calibrated", "mass on own family"), *lines]


def markdown(table: Table) -> str:
    """The table in Markdown."""
    rows = [table[0], tuple("---" for _ in table[0]), *table[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _score(cell: Cell) -> str:
    low, high = cell.interval
    return f"{100 * cell.score:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def _figure(figure: Figure, times: float = 1) -> str:
    if isnan(figure.value):
        return ""
    return f"{times * figure.value:.1f} ({times * figure.low:.1f} to {times * figure.high:.1f})"
