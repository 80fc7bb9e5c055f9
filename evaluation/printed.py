"""The tables of an evaluation in a terminal."""

from collections.abc import Sequence

from loradex import terminal
from loradex.evaluation.cells import Cell
from loradex.evaluation.methods import METHODS
from loradex.evaluation.paired import Side, differences
from loradex.evaluation.plan import FIXED, UNSEEN, Plan
from loradex.evaluation.report import PAIRS
from loradex.evaluation.summary import summarise
from loradex.evaluation.tables import Table, brief, by_task, by_wording, compared


def show(cells: Sequence[Cell], plan: Plan) -> None:
    """Print task by task where there is little to show, otherwise a line a method, and what is beyond noise."""
    few = set(plan.methods) <= set(FIXED)
    for setting in plan.settings[: 1 if few else None]:
        for table in [*_scores(cells, setting, few=few), *_beyond_noise(cells, plan, setting)]:
            terminal.table(table[0], table[1:], setting)


def _scores(cells: Sequence[Cell], setting: str, *, few: bool) -> list[Table]:
    if setting == UNSEEN:
        return [by_wording(cells)]
    lines = summarise(cells, setting, METHODS)
    tables = [by_task(cells, setting)] if few or not lines else []
    if lines:
        tables.append(brief(lines, summarise(cells, setting, METHODS, lambda cell: cell.calibrated)))
    return tables


def _beyond_noise(cells: Sequence[Cell], plan: Plan, setting: str) -> list[Table]:
    """Of tasks with adapters what the report compares, of unseen ones each method with the base model."""
    pairs = PAIRS
    if setting == UNSEEN:
        pairs = [(Side(method), Side("base")) for method in plan.methods if method not in FIXED]
    found = differences(cells, setting, pairs)
    return [compared(found)] if found else []
