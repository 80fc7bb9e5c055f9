"""Records of several runs, read together: settings of tasks with adapters, unseen tasks, a sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from loradex.errors import InvalidArgumentError
from loradex.evaluation.cells import Cell, key_of, read_cells
from loradex.evaluation.origin import Origin, unlike, unlike_elsewhere
from loradex.evaluation.plan import UNSEEN

TEST = "test"
ENDING = "*.jsonl"


def recorded(directory: Path) -> list[tuple[Path, Cell]]:
    """Every cell of every record in a directory, by the records' names.

    Raises:
        InvalidArgumentError: A file is no record.
    """
    return [(path, cell) for path in sorted(directory.glob(ENDING)) for cell in read_cells(path)]


def read_together(directory: Path) -> list[Cell]:
    """The cells of every record in a directory.

    A case that is in a record twice was measured anew there, and the later counts. One that is in two records counts
    once, as it is in the later of them by name.

    Raises:
        InvalidArgumentError: There is no record, one is none, or their figures may not stand beside one another.
    """
    read = list({(path, _case(cell)): (path, cell) for path, cell in recorded(directory)}.values())
    if not any(cell.origin.rows == TEST for _, cell in read):
        raise InvalidArgumentError(
            f"{directory}: no record ({ENDING}) of test rows there; measure with --data first"
        )
    first: dict[bool | None, tuple[Path, Origin]] = {}
    asked: dict[tuple[bool | None, str], tuple[Path, Cell]] = {}
    for path, cell in read:
        group = _group(cell)
        there, origin = first.setdefault(group, (path, cell.origin))
        _refuse(there, path, unlike(origin, cell.origin))
        first[group] = there, origin.joined(cell.origin)
        there, other = asked.setdefault((group, cell.task), (path, cell))
        if _asked(other) != _asked(cell):
            _refuse(there, path, f"unlike rows or cards of {cell.task}")
    (there, known), *others = first.values()
    for path, origin in others:
        _refuse(there, path, unlike_elsewhere(known, origin))
    return _each_once(cell for _, cell in read)


def beside(cells: Sequence[Cell], others: Sequence[Cell], origin: Origin) -> list[Cell]:
    """The cells and those of the others that may stand beside them, each case once.

    Of one library in one form and under the same defaults; of settings that both have, as many rows a task, and of
    tasks that both have the same rows.

    Args:
        cells: Measured now.
        others: Measured before.
        origin: Of the cells, with all defaults.
    """
    groups = {_group(cell) for cell in cells}
    asked = {(_group(cell), cell.task): _asked(cell) for cell in cells}
    kept = [
        cell
        for cell in others
        if not (unlike if _group(cell) in groups else unlike_elsewhere)(cell.origin, origin)
        and asked.get((_group(cell), cell.task), _asked(cell)) == _asked(cell)
    ]
    return _each_once((*kept, *cells))


def _refuse(there: Path, here: Path, why: str) -> None:
    """Refuse two records, or what is in one, for a reason; where there is none they go together."""
    if why and there == here:
        raise InvalidArgumentError(
            f"{here}: its figures have {why}; the command that made it measures those anew that are out of date, "
            "or move it away"
        )
    if why:
        raise InvalidArgumentError(f"{there} and {here} have {why}; move one away")


def _each_once(cells: Iterable[Cell]) -> list[Cell]:
    return list({_case(cell): cell for cell in cells}.values())


def _case(cell: Cell) -> tuple[object, ...]:
    return (cell.origin.rows, *key_of(cell))


def _group(cell: Cell) -> bool | None:
    """Of what is compared with one another: unseen tasks, tasks with adapters, or (None) held-out rows."""
    return cell.setting == UNSEEN if cell.origin.rows == TEST else None


def _asked(cell: Cell) -> tuple[str | None, str | None]:
    return cell.card, cell.asked
