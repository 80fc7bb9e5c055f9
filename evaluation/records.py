"""Records of several runs, read together: settings of tasks with adapters, unseen tasks, a sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from loradex.errors import InvalidArgumentError
from loradex.evaluation.cells import Cell, Origin, key_of, read_cells
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

    A case that is in two records counts once, as it is in the later of them by name.

    Raises:
        InvalidArgumentError: There is no record, one is none, or their figures may not stand beside one another.
    """
    read = recorded(directory)
    if not any(cell.origin.rows == TEST for _, cell in read):
        raise InvalidArgumentError(
            f"{directory}: no record ({ENDING}) of test rows there; measure with --data first"
        )
    first: dict[bool | None, tuple[Path, Origin]] = {}
    for path, cell in read:
        group = _group(cell)
        there, origin = first.setdefault(group, (path, cell.origin))
        if cell.origin != origin:
            raise InvalidArgumentError(
                f"{there} and {path} have {_unlike(origin, cell.origin)}; move one away"
            )
    found = list(first.values())
    for path, origin in found[1:]:
        there, known = found[0]
        if (origin.library, origin.dtype) != (known.library, known.dtype):
            raise InvalidArgumentError(f"{there} and {path} have {_unlike(known, origin)}; move one away")
    return _each_once(cell for _, cell in read)


def beside(cells: Sequence[Cell], others: Sequence[Cell]) -> list[Cell]:
    """The cells and those of the others that may stand beside them, each case once.

    Of one library in one form; of settings that both have, as many rows a task.
    """
    origins = {_group(cell): cell.origin for cell in cells}
    origin = cells[0].origin
    kept = [
        cell
        for cell in others
        if (cell.origin.library, cell.origin.dtype) == (origin.library, origin.dtype)
        and cell.origin == origins.get(_group(cell), cell.origin)
    ]
    return _each_once((*kept, *cells))


def _each_once(cells: Iterable[Cell]) -> list[Cell]:
    return list({(cell.origin.rows, *key_of(cell)): cell for cell in cells}.values())


def _group(cell: Cell) -> bool | None:
    """Of what is compared with one another: unseen tasks, tasks with adapters, or (None) held-out rows."""
    return cell.setting == UNSEEN if cell.origin.rows == TEST else None


def _unlike(one: Origin, other: Origin) -> str:
    """In what they differ, in words."""
    words = {
        "library": "libraries",
        "dtype": "number formats",
        "limit": "limits of rows",
        "rows": "kinds of rows",
    }
    names = [name for name in words if getattr(one, name) != getattr(other, name)]
    return " and ".join(f"unlike {words[name]} ({_told(one, name)}, {_told(other, name)})" for name in names)


def _told(origin: Origin, name: str) -> str:
    value = getattr(origin, name)
    return "all" if value is None else str(value)[:16]
