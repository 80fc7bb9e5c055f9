"""The report: one Markdown page with its pictures, from the cells alone."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

from loradex.evaluation import plots
from loradex.evaluation.cells import Cell, of_case
from loradex.evaluation.methods import BASELINES, MERGED, METHODS
from loradex.evaluation.paired import Side, differences
from loradex.evaluation.plan import FIXED, IN_DOMAIN, SETTINGS, TRAINED, UNSEEN
from loradex.evaluation.records import TEST
from loradex.evaluation.summary import Line, summarise
from loradex.evaluation.sweep_points import series
from loradex.evaluation.tables import by_task, by_wording, compared, markdown, overview, retrieval
from loradex.evaluation.wordings import task_of

PAGE = "evaluation.md"
EXPLAINED = {
    IN_DOMAIN: "everything is available",
    "semi-ood": "the task's own adapter is excluded, its examples are kept",
    "ood": "the task's own adapter and its own examples are excluded",
    UNSEEN: "nobody trained for these tasks",
}
LEGEND = """\
Choices are ranked by log-likelihood; open questions count by exact match after normalising. Brackets hold
95 % bootstrap intervals.

- % of own: mean over the families of family mean / family mean of the task's own adapter (`own`).
- % of gain: (method - base) / (own - base), of means over families.
- calibrated: each label's share of the whole file taken off first (Batch Calibration; it reads no label), from 16 rows
  on.
- written: share of questions with choices whose freely written answer is the right choice, where measured.
- adapters: mean number mixed.
- beyond noise: by p, which is how often randomly flipped signs of the rows' differences put both as far apart. All
  pairs of the table count as tries (Holm). Points are of percent of own, of unseen tasks of the families' mean score.
"""
SWEPT = """\
## Sweeps

One option at a time, the others at the database's defaults, on training rows that no adapter was trained on
and that were out of the index. No test row was read.

![sweeps](sweep.png)
"""
SHOWN = "affinity_calibrated_cat"
"""The database's default; the pictures show it where it was measured."""
PAIRS = [
    *((Side(SHOWN), Side(name)) for name in (*FIXED, *BASELINES)),
    *((Side(name, calibrated=True), Side(name)) for name in (SHOWN, "base")),
    (Side(SHOWN, calibrated=True), Side("base", calibrated=True)),
]
"""What a reader wants to see compared."""
BARS = {IN_DOMAIN: 102, "semi-ood": 98, "ood": 96}
"""Percent of own that are meant."""


def write_report(directory: Path, recorded: Sequence[Cell]) -> Path:
    """Write page and pictures; the page.

    Args:
        directory: Made if it is missing.
        recorded: Of test rows, and perhaps of held-out training rows under several options.
    """
    directory.mkdir(parents=True, exist_ok=True)
    cells = [cell for cell in recorded if cell.origin.rows == TEST] or list(recorded)
    swept = [cell for cell in recorded if cell.origin.rows != TEST]
    parts = [_head(cells)]
    parts += [
        _setting(directory, cells, setting) if setting in TRAINED else _unseen(cells)
        for setting in SETTINGS
        if any(cell.setting == setting and cell.method not in FIXED for cell in cells)
    ]
    curves = series(swept)
    if curves:
        plots.curves(directory / "sweep.png", curves)
        parts.append(SWEPT)
    page = directory / PAGE
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def _head(cells: Sequence[Cell]) -> str:
    origin, revisions = cells[0].origin, sorted({cell.revision for cell in cells})
    hours = sum(cell.seconds for cell in cells) / 3600
    trained = [cell for cell in cells if cell.setting != UNSEEN]
    unseen = [cell for cell in cells if cell.setting == UNSEEN]
    asked = " and ".join(_asked(some, what) for some, what in ((trained, ""), (unseen, " unseen")) if some)
    return (
        "# Evaluation\n\n"
        f"{asked}; {origin.dtype}; {hours:.1f} hours of answering. "
        f"Library `{origin.library[:16]}`, code {', '.join(revisions)}.\n\n"
        f"{LEGEND}\n"
    )


def _asked(cells: Sequence[Cell], what: str) -> str:
    """How many tasks and rows, such as `22 tasks, at most 200 test rows each`."""
    origin = cells[0].origin
    limit = "all" if origin.limit is None else f"at most {origin.limit}"
    names = {task_of(cell.task) for cell in cells}
    asked = {cell.task for cell in cells}
    wordings = "" if asked == names else f" in {len(asked)} wordings"
    return f"{len(names)}{what} tasks{wordings}, {limit} {origin.rows} rows each"


def _setting(directory: Path, cells: Sequence[Cell], setting: str) -> str:
    lines = summarise(cells, setting, METHODS)
    calibrated = summarise(cells, setting, METHODS, lambda cell: cell.calibrated)
    text = f"## {setting}: {EXPLAINED[setting]}\n\n"
    text += markdown(overview(lines, calibrated)) + "\n"
    text += _verdict(setting, lines)
    text += _compared(cells, setting)
    measured = retrieval(lines)
    if measured:
        text += "Retrieval, in percent: own task first {}, mass on own task {}, on own family {}.\n\n".format(
            *measured
        )
    example = next((m for m in (SHOWN, *MERGED) if of_case(cells, setting, m)), None)
    if example:
        found = of_case(cells, setting, example)
        plots.heat_map(
            directory / f"mixture-{setting}.png", found, f"Who answers what, {setting} ({example})"
        )
        plots.distributions(
            directory / f"tasks-{setting}.png", found, f"Tasks of the nearest examples, {setting}"
        )
        text += f"![mixture](mixture-{setting}.png)\n\n![tasks](tasks-{setting}.png)\n\n"
    return text + f"### {setting}, task by task\n\n" + markdown(by_task(cells, setting))


def _unseen(cells: Sequence[Cell]) -> str:
    """Tasks without adapters: what beats the base model, and in which wording."""
    return (
        f"## {UNSEEN}: {EXPLAINED[UNSEEN]}\n\n"
        + markdown(by_wording(cells))
        + "\n"
        + _compared(cells, UNSEEN)
        + f"### {UNSEEN}, task by task\n\n"
        + markdown(by_task(cells, UNSEEN))
    )


def _compared(cells: Sequence[Cell], setting: str) -> str:
    """Which differences of the database's default are beyond noise."""
    found = differences(cells, setting, PAIRS)
    return f"### Beyond noise, {setting}\n\n{markdown(compared(found))}\n" if found else ""


def _verdict(setting: str, lines: Sequence[Line]) -> str:
    """How the best merged method stands to its bar and to the baselines."""
    merged = [line for line in lines if line.method in MERGED]
    if not merged:
        return ""
    best = max(merged, key=lambda line: line.mean.value if isnan(line.of_own.value) else line.of_own.value)
    missing = BARS[setting] - best.of_own.value
    stands = "reached" if missing <= 0 else f"missed by {missing:.2f} points"
    text = (
        f"Best merged method: `{best.method}`, {best.of_own.value:.1f} % of own; "
        f"the bar of {BARS[setting]} % is {stands}. "
        f"At least as good as `own` on {best.wins} of {best.tasks} tasks. "
    )
    others = {line.method: line.of_own.value for line in lines if line.method in BASELINES}
    if others:
        text += "Ahead of " + ", ".join(
            f"`{name}` by {best.of_own.value - value:+.1f}" for name, value in others.items()
        )
        text += " points.\n\n"
    return text
