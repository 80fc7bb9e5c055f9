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


def evaluate(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Directory of TASK.test.jsonl or .csv files; without it, --report shows what was measured.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
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
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows a task at most: the first of a test file, so shuffle one that is sorted; with --sweep a draw.",
        ),
    ] = None,
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
        Path | None,
        typer.Option(
            help="Directory for tables and plots, made of every record (*.jsonl) in it; this one is kept there too."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a task and method.")] = False,
) -> None:
    """Measure methods on test files: choices by log-likelihood, open questions by exact match.

    It needs a stack with a library (`loradex up`, `loradex library load`); the figures also go to
    loradex.evaluations. With --report alone nothing is measured: the records in that directory become one page.

    Example: loradex eval --data data --setting in-domain,ood --method base,own,cat --limit 50
    """
    if data is None:
        _render(report)
        return
    import torch

    from loradex.errors import InvalidArgumentError
    from loradex.evaluation.methods import chosen_methods, chosen_names
    from loradex.evaluation.pages import keep_freed_pages
    from loradex.evaluation.plan import SETTINGS, UNSEEN, Options, Plan
    from loradex.evaluation.printed import show
    from loradex.evaluation.records import beside, recorded
    from loradex.evaluation.report import write_report
    from loradex.evaluation.session import Session
    from loradex.evaluation.sweep import sweep
    from loradex.evaluation.wordings import DIRECTORY, in_all_wordings, load_wordings
    from loradex.library.cards import chosen_cards, load_cards
    from loradex.worker.settings import WorkerSettings

    keep_freed_pages()
    methods = chosen_methods(method)
    given = Options(k, top_p, temperature, density)
    if sweeping and (given.given() or not in_process):
        raise InvalidArgumentError(
            "--sweep tries every option itself, on rows that it takes out of the index, which no job can; "
            "leave the other options and --as-jobs out"
        )
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
        record = report / ("sweep.jsonl" if sweeping else "unseen.jsonl" if unseen else "cells.jsonl")
    others = [cell for _, cell in recorded(report)] if report is not None else []
    settings = WorkerSettings()
    if processes is None:
        alone = not in_process or (settings.device != "cpu" and torch.cuda.is_available())
        processes = 1 if alone else min(2, os.cpu_count() or 1)
    with Session(settings, plan, record, in_process=in_process) as session:
        _say(session)
        cells = _measure(session, plan, processes, as_json=as_json)
        session.keep(cells)
    if not as_json and not sweeping and not given.given():
        show(cells, plan)
    if report is not None:
        sys.stderr.write(f"{write_report(report, beside(cells, others, session.record.origin))}\n")


def _render(report: Path | None) -> None:
    """One page of the records of several runs."""
    from loradex.errors import InvalidArgumentError
    from loradex.evaluation.records import read_together
    from loradex.evaluation.report import write_report

    if report is None:
        raise InvalidArgumentError("give --data DIR to measure, or --report DIR to show what was measured")
    sys.stderr.write(f"{write_report(report, read_together(report))}\n")


def _say(session: "Session") -> None:
    """What somebody should know of the figures before they are measured."""
    from loradex import terminal
    from loradex.evaluation.rows import told_of_shared, told_of_unlisted

    if told := session.record.told_of_others():
        terminal.complain(told)
    if common := session.shared_rows():
        terminal.complain(told_of_shared(common))
    if unlisted := session.unlisted():
        terminal.complain(told_of_unlisted(unlisted))


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


def _trimming(methods: tuple[str, ...]) -> bool:
    from loradex.evaluation.methods import defaults_read_by

    return any("density" in defaults_read_by(method) for method in methods)
