"""The file that keeps what was measured, so that a stopped evaluation goes on."""

import json
from dataclasses import asdict
from pathlib import Path

from loradex.evaluation.cells import MAX_LINE, Cell, case_key, key_of, read_cells
from loradex.evaluation.origin import Asked, Origin, unlike
from loradex.evaluation.plan import Case


class Record:
    """Cells on disk, one JSON object a line.

    Args:
        path: The file; None keeps nothing beyond this run.
        origin: Of the cells that count here, with all defaults; others stay in the file untouched.
        writing: Whether cells are added to the file; another process does it otherwise.

    Raises:
        InvalidArgumentError: The file is not such a record.
    """

    def __init__(self, path: Path | None, origin: Origin, *, writing: bool = True) -> None:
        self.path = path
        self._writing = writing
        self.origin = origin
        self._cells: dict[tuple[object, ...], list[Cell]] = {}
        self._others: list[Origin] = []
        if path is not None and path.exists():
            for cell in read_cells(path):
                if unlike(cell.origin, origin):
                    self._others.append(cell.origin)
                else:
                    self._keep(cell)
            if writing:
                _without_torn_line(path)

    def find(self, case: Case, task: str, asked: Asked, *, generated: bool) -> Cell | None:
        """The latest cell measured before of just this, if it has all that is wanted."""
        key = case_key(case.setting, case.method, case.options.given(), task)
        origin = self.origin.of_case(case)
        for cell in reversed(self._cells.get(key, [])):
            if (
                cell.origin == origin
                and cell.card == asked.card
                and asked.rows in {None, cell.asked}
                and not (generated and cell.generated is None)
            ):
                return cell
        return None

    def add(self, cell: Cell) -> None:
        """Remember a cell, on disk at once; one that is there already is not written twice."""
        if cell in self._cells.get(key_of(cell), []):
            return
        self._keep(cell)
        if self.path is not None and self._writing:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(cell)) + "\n")

    def told_of_others(self) -> str:
        """In a sentence, that figures of another origin do not count here; empty where there are none."""
        if not self._others:
            return ""
        return (
            f"{self.path}: {len(self._others)} figures there do not count here, such as one with "
            f"{unlike(self._others[-1], self.origin)}; what is missing is measured, and they stay in the file"
        )

    def _keep(self, cell: Cell) -> None:
        self._cells.setdefault(key_of(cell), []).append(cell)


def _without_torn_line(path: Path) -> None:
    """Cut off what a killed run had begun to write; all before it are cells."""
    with path.open("rb+") as stream:
        end = stream.seek(0, 2)
        start = stream.seek(max(0, end - MAX_LINE))
        stream.truncate(start + stream.read().rfind(b"\n") + 1)
