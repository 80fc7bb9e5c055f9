"""Which defaults of the routing to change, one at a time, for what held-out rows say beyond noise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from loradex.evaluation.cells import Cell, options_of
from loradex.evaluation.paired import compare, holm
from loradex.evaluation.plan import Options
from loradex.evaluation.summary import Figure
from loradex.evaluation.sweep import VALUES

ROUNDS = 3
CHOICE_PRIOR = "choice_prior"
HISTORY = "history"

Value = float | str
Measure = Callable[[Sequence[Options]], Sequence[Cell]]


@dataclass(frozen=True)
class Trial:
    """One value of one setting against what stood before.

    Attributes:
        name: The setting.
        value: What was tried.
        points: Points of the families' mean score by which it is ahead, over all that was asked.
        p: How often luck alone puts it so far from what stood; two-sided.
        adopted: Whether it is the best of those that are ahead beyond noise.
    """

    name: str
    value: Value
    points: Figure
    p: float
    adopted: bool


def tune(measure: Measure, start: Options, prior: str) -> Iterator[list[Trial]]:
    """Round after round, each value of each setting against what stands; a round adopts one value at most.

    Args:
        measure: Asks the same rows under each of some options.
        start: What stands; every option is given, so that no default of the database matters.
        prior: The `choice_prior` that stands; `history` is judged by what Batch Calibration gains.

    Yields:
        The trials of each round. The last one adopts nothing, or no round is left.
    """
    stands = start
    for _ in range(ROUNDS):
        tried = {
            (name, value): Options(**stands.given() | {name: value})  # type: ignore[arg-type]
            for name, values in VALUES.items()
            for value in (int(one) if name == "k" else one for one in values)
            if value != getattr(stands, name)
        }
        cells = measure([stands, *tried.values()])
        trials = _judged(cells, stands, tried, prior)
        yield trials
        adopted = next((trial for trial in trials if trial.adopted), None)
        if adopted is None:
            return
        if adopted.name == CHOICE_PRIOR:
            prior = HISTORY
        else:
            stands = tried[adopted.name, adopted.value]  # type: ignore[index]


def _judged(
    cells: Sequence[Cell], stands: Options, tried: Mapping[tuple[str, float], Options], prior: str
) -> list[Trial]:
    before = _asked(cells, stands, prior)
    found: list[tuple[str, Value, Figure, float]] = []
    for (name, value), options in tried.items():
        found.append((name, value, *compare(before, _asked(cells, options, prior))))
    if prior != HISTORY:
        found.append((CHOICE_PRIOR, HISTORY, *compare(before, _asked(cells, stands, HISTORY))))
    sure = holm([p for *_, p in found])
    gains = [points.value if held else 0.0 for (_, _, points, _), held in zip(found, sure, strict=True)]
    best = max(range(len(gains)), key=gains.__getitem__)
    return [Trial(*one, adopted=place == best and gains[best] > 0) for place, one in enumerate(found)]


def _asked(cells: Sequence[Cell], options: Options, prior: str) -> dict[str, Cell]:
    """`SETTING TASK` → the cell under these options, its marks as choices are judged with this prior."""
    return {
        f"{cell.setting} {cell.task}": replace(cell, right=cell.calibrated) if prior == HISTORY else cell
        for cell in cells
        if options_of(cell) == options
    }
