"""The README's table, the report and its record say the same."""

import re
from pathlib import Path

import numpy as np

from loradex.evaluation.cells import Cell, marks_of, of_case, read_cells
from loradex.evaluation.plan import IN_DOMAIN, TRAINED, home
from loradex.evaluation.summary import percent_of

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs" / "results"
FIGURES = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([\d.*]+) \| ([\d.*]+) \| ([\d.*]+) \|$", re.MULTILINE)
LINE = re.compile(r"^\| (\w+) \| ([\d.]+) \([^|]*\| ([\d.]+) \(", re.MULTILINE)


def of_own(cells: list[Cell], setting: str, method: str) -> float:
    """Percent of own, as the report has it, without its interval."""
    found, own = of_case(cells, home(setting, method), method), of_case(cells, IN_DOMAIN, "own")
    scores = [np.array([[marks_of(table[task].right).mean()] for task in own]) for table in (found, own)]
    return float(percent_of(scores[0], scores[1], [own[task].family for task in own])[0])


def test_the_table_of_the_readme_is_that_of_the_record_and_the_best_are_marked() -> None:
    cells = read_cells(RESULTS / "cells.jsonl")
    table = FIGURES.findall((ROOT / "README.md").read_text())
    assert len(table) == 8
    for place, setting in enumerate(TRAINED):
        told = {method: figures[place].strip("*") for method, *figures in table}
        assert told == {method: f"{of_own(cells, setting, method):.1f}" for method in told}
        best = max(told, key=lambda method: float(told[method]))
        marked = [method for method, *figures in table if "*" in figures[place]]
        assert marked in ([], [best])


def test_the_readme_says_how_much_was_asked() -> None:
    origin = (cells := read_cells(RESULTS / "cells.jsonl"))[0].origin
    own = of_case(cells, IN_DOMAIN, "own")
    rows = sum(cell.n for cell in own.values())
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"{len(own)} tasks, up to {origin.limit} test rows each ({rows:,})" in text
    assert f"{origin.dtype}. A figure is the percent" in text


def test_the_report_is_made_of_the_record() -> None:
    cells = read_cells(RESULTS / "cells.jsonl")
    page = (RESULTS / "evaluation.md").read_text()
    for setting in TRAINED:
        part = page.split(f"## {setting}: ")[1].split("###")[0]
        for method, score, percent in LINE.findall(part):
            found = of_case(cells, home(setting, method), method).values()
            assert score == f"{100 * np.mean([cell.score for cell in found]):.1f}"
            assert percent == f"{of_own(cells, setting, method):.1f}"
