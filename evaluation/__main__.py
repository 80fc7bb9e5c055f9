"""`python -m evaluation`: the program behind `loradex eval`."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table as RichTable

from db.errors import InvalidArgumentError, LoradexError
from evaluation.cells import Cell, read_cells
from evaluation.methods import METHODS, chosen_methods, chosen_names
from evaluation.plan import FIXED, SETTINGS, Options, Plan, cases
from evaluation.progress import progress
from evaluation.report import write_report
from evaluation.session import Session
from evaluation.summary import summarise
from evaluation.sweep import sweep
from evaluation.tables import brief, by_task
from library.cards import TASKS_DIRECTORY, chosen_cards, load_cards
from worker.engine.recipe import TRIMMING
from worker.settings import WorkerSettings

app = typer.Typer(add_completion=False)
RECORDS = {False: "cells.jsonl", True: "sweep.jsonl"}


@app.command()
def evaluate(
    *,
    data: Annotated[Path, typer.Option(help="Directory of TASK.test.jsonl files.")],
    setting: Annotated[str, typer.Option(help="Settings, separated by commas.")] = "in-domain",
    method: Annotated[str, typer.Option(help="Methods, separated by commas.")] = "base,own",
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(help="Test rows a task at most.")] = None,
    k: Annotated[int | None, typer.Option()] = None,
    top_p: Annotated[float | None, typer.Option()] = None,
    temperature: Annotated[float | None, typer.Option()] = None,
    density: Annotated[float | None, typer.Option()] = None,
    sweeping: Annotated[bool, typer.Option("--sweep", help="Try options on held-out rows.")] = False,
    generated: Annotated[bool, typer.Option(help="Also let the model write choices.")] = False,
    in_process: Annotated[bool, typer.Option("--in-process/--as-jobs")] = True,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes side by side.")] = None,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
    record: Annotated[Path | None, typer.Option(help="File of cells measured before.")] = None,
    report: Annotated[Path | None, typer.Option(help="Directory of the report.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a cell.")] = False,
) -> None:
    """Measure methods on test files."""
    try:
        methods = chosen_methods(method)
        given = Options(k, top_p, temperature, density)
        if sweeping and given.given():
            raise InvalidArgumentError("--sweep tries every option itself; leave the others out")
        plan = Plan(
            cards=chosen_cards(load_cards(cards), task),
            data=data,
            settings=chosen_names("setting", setting, SETTINGS),
            methods=methods,
            limit=limit,
            options=sweep(density=_trimming(methods)) if sweeping else (given,),
            held_out=sweeping,
            generated=generated,
        )
        if record is None and report is not None:
            record = report / RECORDS[sweeping]
        settings = WorkerSettings()
        if processes is None:
            alone = not in_process or (settings.device != "cpu" and torch.cuda.is_available())
            processes = 1 if alone else min(2, os.cpu_count() or 1)
        with Session(settings, plan, record, in_process=in_process) as session:
            cells = _measure(session, plan, processes, as_json=as_json)
            session.keep(cells)
        if not as_json and not sweeping and not given.given():
            _show(cells, plan)
        if report is not None:
            page = write_report(report, *(_recorded(report, name, cells) for name in RECORDS.values()))
            sys.stderr.write(f"{page}\n")
    except LoradexError as error:
        sys.stderr.write(f"loradex: {error}\n")
        raise typer.Exit(error.exit_code) from None


def _measure(session: Session, plan: Plan, processes: int, *, as_json: bool) -> list[Cell]:
    cells = []
    with progress(len(plan.cards) * len(cases(plan))) as advance:
        for cell in session.cells(advance, processes):
            cells.append(cell)
            if as_json:
                low, high = cell.interval
                figures = {"n": cell.n, "score": cell.score, "low": low, "high": high}
                sys.stdout.write(json.dumps(asdict(cell) | figures) + "\n")
                sys.stdout.flush()
    return cells


def _recorded(report: Path, name: str, cells: list[Cell]) -> list[Cell]:
    """The cells of a file beside the report that may stand beside these."""
    path = report / name
    origin = cells[0].origin
    return [
        cell
        for cell in (read_cells(path) if path.exists() else [])
        if (cell.origin.library, cell.origin.dtype) == (origin.library, origin.dtype)
        and (name != RECORDS[False] or origin.rows != "test" or cell.origin == origin)
    ]


def _show(cells: list[Cell], plan: Plan) -> None:
    """Tables for a terminal: task by task where there is little to show, otherwise a line a method."""
    console = Console()
    few = set(plan.methods) <= set(FIXED)
    for setting in plan.settings[: 1 if few else None]:
        lines = summarise(cells, setting, METHODS)
        calibrated = summarise(cells, setting, METHODS, lambda cell: cell.calibrated)
        tables = [by_task(cells, setting)] if few or not lines else []
        for rows in [*tables, *([brief(lines, calibrated)] if lines else [])]:
            table = RichTable(*rows[0], title=setting)
            for row in rows[1:]:
                table.add_row(*row)
            console.print(table)


def _trimming(methods: tuple[str, ...]) -> bool:
    return any(method.removeprefix("calibrated_") in TRIMMING for method in methods)


if __name__ == "__main__":
    app()
