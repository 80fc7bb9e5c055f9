"""The figures of an evaluation, as a file keeps them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loradex.bounded_file import bounded_lines
from loradex.errors import InvalidArgumentError
from loradex.evaluation.origin import Origin
from loradex.evaluation.plan import Options
from loradex.evaluation.scoring import Marks, interval

MAX_LINE = 4 << 20
MAX_FILE = 1 << 30
BEGINNING = b'{"setting": '
"""Of every cell that is written; a file of somebody else's is not cut."""


Kept = str | list[float]
DIGITS = 4


@dataclass(frozen=True)
class Cell:
    """One case on one task. Marks are a digit a row, `1` for right, in the file's order; or numbers from 0 to 1.

    Attributes:
        setting: What was available.
        method: What answered.
        options: What was not left to the database.
        task: On whose rows.
        family: The task's family.
        metric: The task card's.
        seconds: Time it took.
        revision: Of the code.
        right: Marks of the score.
        calibrated: Marks with the labels' shares taken off.
        generated: Marks of what was written instead of chosen; None where that was not asked.
        first: Share of questions whose likeliest task was their own.
        own_mass: Mean probability of the own task.
        family_mass: Mean probability of the own family.
        nucleus: Mean number of adapters mixed.
        mixture: Adapter → mean weight.
        tasks: Task → mean probability.
        origin: What else it depends on.
        card: Hash of the task's card; None in records of earlier code.
        asked: Hash of the rows asked; likewise.
    """

    setting: str
    method: str
    options: dict[str, float]
    task: str
    family: str
    metric: str
    seconds: float
    revision: str
    right: Kept
    calibrated: Kept
    generated: Kept | None
    first: float | None
    own_mass: float | None
    family_mass: float | None
    nucleus: float
    mixture: dict[str, float]
    tasks: dict[str, float]
    origin: Origin
    card: str | None = None
    asked: str | None = None

    @property
    def n(self) -> int:
        """Rows asked."""
        return len(self.right)

    @property
    def score(self) -> float:
        """Mean of the marks: of those that are right or wrong, the share answered right."""
        return float(marks_of(self.right).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the score."""
        return interval(marks_of(self.right))


def kept(marks: Marks) -> Kept:
    """Marks as a cell has them."""
    if np.isin(marks, (0, 1)).all():
        return "".join("1" if mark else "0" for mark in marks)
    return [round(float(mark), DIGITS) for mark in marks]


def marks_of(kept: Kept) -> Marks:
    """What `kept` was given."""
    return np.array([float(mark) for mark in kept], dtype=np.float64)


def read_cells(path: Path) -> list[Cell]:
    """Every cell of a record, but for a last one that a killed run had begun to write.

    Raises:
        InvalidArgumentError: It cannot be read, or a line is not a cell.
    """
    cells = []
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(bounded_lines(stream, MAX_LINE, MAX_FILE), start=1):
                if BEGINNING.startswith(line[: len(BEGINNING)]) and not line.endswith(b"\n"):
                    break
                cells.append(_cell(path, number, line))
    except OSError as error:
        raise InvalidArgumentError(f"{path}: {error.strerror or error}") from None
    return cells


def _cell(path: Path, number: int, line: bytes) -> Cell:
    try:
        document: dict[str, Any] = json.loads(line)
        return Cell(**(document | {"origin": Origin(**document["origin"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidArgumentError(
            f"{path}, line {number}: not a cell of an evaluation; give another --record"
        ) from error


def of_case(cells: Iterable[Cell], setting: str, method: str) -> dict[str, Cell]:
    """Task → cell of one case under the database's own options."""
    return {
        cell.task: cell
        for cell in cells
        if cell.setting == setting and cell.method == method and not cell.options
    }


def options_of(cell: Cell) -> Options:
    return Options(**cell.options)  # type: ignore[arg-type]


def key_of(cell: Cell) -> tuple[object, ...]:
    """Which case on which task; what counts of a record has each once."""
    return case_key(cell.setting, cell.method, cell.options, cell.task)


def case_key(setting: str, method: str, options: Mapping[str, float], task: str) -> tuple[object, ...]:
    return (setting, method, *sorted(options.items()), task)
