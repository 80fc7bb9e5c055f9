"""The figures of an evaluation, and the file that keeps them so that a stopped one goes on."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loradex.bounded_file import bounded_lines
from loradex.errors import InvalidArgumentError
from loradex.evaluation.plan import Case, Options
from loradex.evaluation.scoring import Marks, interval

MAX_LINE = 4 << 20
MAX_FILE = 1 << 30
BEGINNING = b'{"setting": '
"""Of every cell that is written; a file of somebody else's is not cut."""


@dataclass(frozen=True)
class Origin:
    """What a figure depends on beside its case; figures of unlike origin are never mixed.

    Attributes:
        rows: `test` or `held-out`.
        limit: Rows a task at most; None for all.
        dtype: Numbers the model computed in.
        library: Hash of the adapters and examples that were active.
    """

    rows: str
    limit: int | None
    dtype: str
    library: str


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


class Record:
    """Cells on disk, one JSON object a line.

    Args:
        path: The file; None keeps nothing beyond this run.
        origin: Of the cells that count here; others stay in the file untouched.
        writing: Whether cells are added to the file; another process does it otherwise.

    Raises:
        InvalidArgumentError: The file is not such a record.
    """

    def __init__(self, path: Path | None, origin: Origin, *, writing: bool = True) -> None:
        self.path = path
        self._writing = writing
        self.origin = origin
        self._cells: dict[tuple[object, ...], Cell] = {}
        if path is not None and path.exists():
            for cell in read_cells(path):
                if cell.origin == origin:
                    self._keep(cell)
            if writing:
                _without_torn_line(path)

    def find(self, case: Case, task: str, *, generated: bool) -> Cell | None:
        """The cell measured before, if it has all that is asked."""
        cell = self._cells.get((case.setting, case.method, *_sorted(case.options.given()), task))
        return None if cell is None or (generated and cell.generated is None) else cell

    def add(self, cell: Cell) -> None:
        """Remember a cell, on disk at once; one that is there already is not written twice."""
        if self._cells.get(key_of(cell)) == cell:
            return
        self._keep(cell)
        if self.path is not None and self._writing:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(cell)) + "\n")

    @property
    def cells(self) -> list[Cell]:
        """Every cell of this origin."""
        return list(self._cells.values())

    def _keep(self, cell: Cell) -> None:
        self._cells[key_of(cell)] = cell


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


def _without_torn_line(path: Path) -> None:
    """Cut off what a killed run had begun to write; all before it are cells."""
    with path.open("rb+") as stream:
        end = stream.seek(0, 2)
        start = stream.seek(max(0, end - MAX_LINE))
        stream.truncate(start + stream.read().rfind(b"\n") + 1)


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
    """Which case on which task; a record has each once."""
    return (cell.setting, cell.method, *_sorted(cell.options), cell.task)


def _sorted(options: dict[str, float]) -> Sequence[object]:
    return tuple(sorted(options.items()))
