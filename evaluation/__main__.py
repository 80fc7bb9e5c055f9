"""`python -m evaluation`: the program behind `loradex eval`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from db.errors import LoradexError, UnknownNameError
from db.settings import REPOSITORY
from evaluation.methods import METHODS, Adapters
from evaluation.report import lines
from evaluation.run import SETTINGS, Plan, Record
from evaluation.run import evaluate as run
from library.cards import TASKS_DIRECTORY, TaskCard, load_cards
from worker.engine.engine import Engine
from worker.engine.load import shipped_model
from worker.settings import WorkerSettings

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    *,
    data: Annotated[Path, typer.Option(help="Directory of TASK.test.jsonl files.")],
    setting: Annotated[str, typer.Option(help="Settings, separated by commas.")] = "in-domain",
    method: Annotated[str, typer.Option(help="Methods, separated by commas.")] = "base,own",
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(help="Test rows a task at most.")] = None,
    adapters: Annotated[Path | None, typer.Option(help="Directory of TASK/ adapters.")] = None,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
    record: Annotated[Path | None, typer.Option(help="File of cells measured before.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a cell.")] = False,
) -> None:
    """Measure methods on test files."""
    try:
        _evaluate(
            WorkerSettings(),
            data=data,
            settings=_names(setting),
            methods=_names(method),
            cards=_chosen(load_cards(cards), task),
            limit=limit,
            adapters=adapters,
            record=record,
            as_json=as_json,
        )
    except LoradexError as error:
        sys.stderr.write(f"loradex: {error}\n")
        raise typer.Exit(error.exit_code) from None


def _evaluate(
    worker: WorkerSettings,
    *,
    data: Path,
    settings: tuple[str, ...],
    methods: tuple[str, ...],
    cards: dict[str, TaskCard],
    limit: int | None,
    adapters: Path | None,
    record: Path | None,
    as_json: bool,
) -> None:
    _known("setting", settings, SETTINGS)
    _known("method", methods, METHODS)
    library = adapters or REPOSITORY / "library" / worker.base_model / "adapters"
    path = worker.base_model_path or shipped_model(worker.home / "cache" / "models")
    engine = Engine.load(path, worker.device, worker.dtype, worker.bank_bytes, worker.threads)
    plan = Plan(cards, data, methods, limit, worker.frame)
    cells = []
    with _progress(len(cards) * len(methods)) as (advance, finish):
        for cell in run(plan, engine, Adapters.below(library), Record(record), advance):
            cells.append(cell)
            finish()
            if as_json:
                sys.stdout.write(json.dumps(asdict(cell)) + "\n")
                sys.stdout.flush()
    if not as_json:
        table = [("task", "n", *methods), *lines(cells, methods)]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            sys.stdout.write(
                "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + "\n"
            )


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _known(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names or ("",):
        if name not in known:
            raise UnknownNameError(f"no {what} {name!r}; use {', '.join(known)}")


def _chosen(cards: dict[str, TaskCard], tasks: list[str] | None) -> dict[str, TaskCard]:
    unknown = set(tasks or ()) - cards.keys()
    if unknown:
        raise UnknownNameError(
            f"no task card for {', '.join(sorted(unknown))}; there are: {', '.join(cards)}"
        )
    return {name: card for name, card in cards.items() if not tasks or name in tasks}


@contextmanager
def _progress(cells: int) -> Iterator[tuple[Callable[[str, int, int], None], Callable[[], None]]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("evaluation", total=cells)
        finished = 0

        def advance(name: str, asked: int, rows: int) -> None:
            progress.update(bar, description=name, completed=finished + asked / rows)

        def finish() -> None:
            nonlocal finished
            finished += 1
            progress.update(bar, completed=finished)

        yield advance, finish


if __name__ == "__main__":
    app()
