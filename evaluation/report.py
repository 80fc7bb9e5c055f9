"""The table a reader wants: a line a task, a column a method, means below."""

from collections.abc import Sequence
from statistics import fmean

from evaluation.run import Cell


def lines(cells: Sequence[Cell], methods: Sequence[str]) -> list[tuple[str, ...]]:
    """Rows of text: task, n, a score in percent with its interval for each method; the last is the mean.

    Tasks are those every method has been measured on.
    """
    scores = {(cell.task, cell.method): cell for cell in cells}
    tasks = [cell.task for cell in cells if cell.method == methods[0]]
    whole = [task for task in tasks if all((task, method) in scores for method in methods)]
    table = [
        (
            task,
            str(scores[task, methods[0]].n),
            *(_percent(scores[task, method]) for method in methods),
        )
        for task in whole
    ]
    if whole:
        means = (fmean(scores[task, method].score for task in whole) for method in methods)
        table.append((f"mean of {len(whole)}", "", *(f"{100 * mean:.1f}" for mean in means)))
    return table


def markdown(cells: Sequence[Cell], methods: Sequence[str]) -> str:
    """The same as a Markdown table."""
    head = ("task", "n", *methods)
    rows = [head, tuple("---" for _ in head), *lines(cells, methods)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _percent(cell: Cell) -> str:
    return f"{100 * cell.score:.1f} ({100 * cell.low:.0f} to {100 * cell.high:.0f})"
