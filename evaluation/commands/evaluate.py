"""`loradex eval`: how good the methods are."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loradex.library.card_option import OUR_CARDS, Cards

if TYPE_CHECKING:
    from loradex.evaluation.cells import Cell
    from loradex.evaluation.plan import Plan
    from loradex.evaluation.session import Session

RECORDS = {False: "cells.jsonl", True: "sweep.jsonl"}


def evaluate(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.test.jsonl or .csv files.", exists=True, file_okay=False)
    ],
    setting: Annotated[
        str,
        typer.Option(
            help="What is available: in-domain, semi-ood, ood, several separated by commas; or unseen: "
            "tasks without adapters, in several wordings."
        ),
    ] = "in-domain",
    method: Annotated[
        str,
        typer.Option(help="What answers, such as base, own, cat; or all. Several are separated by commas."),
    ] = "base,own",
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Test rows a task at most.")] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Neighbours that vote. [default: the database's]")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Mass of the nucleus. [default: the database's]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Softness of the votes. [default: the database's]")
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of entries a trim keeps. [default: the database's]")
    ] = None,
    sweeping: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Try values of each option on training rows held out from adapters and index."
        ),
    ] = False,
    generated: Annotated[
        bool, typer.Option(help="Let the model write the answers of questions with choices too.")
    ] = False,
    in_process: Annotated[
        bool,
        typer.Option("--in-process/--as-jobs", help="Answer here, or through Redis and the stack's worker."),
    ] = True,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that measure side by side, each with models of its own. "
            "[default: 2 on a CPU with as many cores, else 1]",
        ),
    ] = None,
    cards: Cards = OUR_CARDS,
    record: Annotated[
        Path | None, typer.Option(help="File that keeps what was measured; the same command goes on there.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Directory for tables and plots; the record is kept there too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a task and method.")] = False,
) -> None:
    """Measure methods on test files: choices by log-likelihood, open questions by exact match.

    It needs a stack with a library (`loradex up`, `loradex library load`); the figures also go to
    loradex.evaluations.

    Example: loradex eval --data data --setting in-domain,ood --method base,own,cat --limit 50
    """
    import torch

    from loradex.errors import InvalidArgumentError
    from loradex.evaluation.methods import chosen_methods, chosen_names
    from loradex.evaluation.pages import keep_freed_pages
    from loradex.evaluation.plan import SETTINGS, UNSEEN, Options, Plan
    from loradex.evaluation.report import write_report
    from loradex.evaluation.session import Session
    from loradex.evaluation.sweep import sweep
    from loradex.evaluation.wordings import DIRECTORY, in_all_wordings, load_wordings
    from loradex.library.cards import chosen_cards, load_cards
    from loradex.worker.settings import WorkerSettings

    keep_freed_pages()
    methods = chosen_methods(method)
    given = Options(k, top_p, temperature, density)
    if sweeping and given.given():
        raise InvalidArgumentError("--sweep tries every option itself; leave the others out")
    settings_of_tasks = chosen_names("setting", setting, SETTINGS)
    unseen = UNSEEN in settings_of_tasks
    if unseen and (len(settings_of_tasks) > 1 or sweeping):
        raise InvalidArgumentError("unseen tasks have test rows of their own; measure them by themselves")
    known = load_wordings(DIRECTORY if cards == OUR_CARDS else cards) if unseen else load_cards(cards)
    plan = Plan(
        cards=chosen_cards(known, in_all_wordings(known, task)),
        data=data,
        settings=settings_of_tasks,
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


def _measure(session: "Session", plan: "Plan", processes: int, *, as_json: bool) -> "list[Cell]":
    from loradex.evaluation.plan import cases
    from loradex.terminal import measuring

    cells = []
    with measuring("evaluation", len(plan.cards) * len(cases(plan))) as advance:
        for cell in session.cells(advance, processes):
            cells.append(cell)
            if as_json:
                low, high = cell.interval
                figures = {"n": cell.n, "score": cell.score, "low": low, "high": high}
                sys.stdout.write(json.dumps(asdict(cell) | figures) + "\n")
                sys.stdout.flush()
    return cells


def _recorded(report: Path, name: str, cells: "list[Cell]") -> "list[Cell]":
    """The cells of a file beside the report that may stand beside these."""
    from loradex.evaluation.cells import read_cells

    path = report / name
    origin = cells[0].origin
    return [
        cell
        for cell in (read_cells(path) if path.exists() else [])
        if (cell.origin.library, cell.origin.dtype) == (origin.library, origin.dtype)
        and (name != RECORDS[False] or origin.rows != "test" or cell.origin == origin)
    ]


def _show(cells: "list[Cell]", plan: "Plan") -> None:
    """Tables for a terminal: task by task where there is little to show, otherwise a line per method."""
    from rich.console import Console
    from rich.table import Table as RichTable

    from loradex.evaluation.methods import METHODS
    from loradex.evaluation.paired import Side, differences
    from loradex.evaluation.plan import FIXED, UNSEEN
    from loradex.evaluation.summary import summarise
    from loradex.evaluation.tables import brief, by_task, by_wording, compared

    console = Console()
    few = set(plan.methods) <= set(FIXED)
    pairs = [(Side(method), Side("base")) for method in plan.methods if method not in FIXED]
    for setting in plan.settings[: 1 if few else None]:
        lines = summarise(cells, setting, METHODS)
        calibrated = summarise(cells, setting, METHODS, lambda cell: cell.calibrated)
        tables = [by_task(cells, setting)] if few or not lines else []
        if setting == UNSEEN:
            tables = [by_wording(cells), compared(differences(cells, UNSEEN, pairs))]
        for rows in [*tables, *([brief(lines, calibrated)] if lines else [])]:
            table = RichTable(*rows[0], title=setting)
            for row in rows[1:]:
                table.add_row(*row)
            console.print(table)


def _trimming(methods: tuple[str, ...]) -> bool:
    from loradex.worker.engine.recipe import TRIMMING

    return any(method.removeprefix("calibrated_") in TRIMMING for method in methods)
