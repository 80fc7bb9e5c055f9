"""`loradex eval`: how good the methods are."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from library.cards import TASKS_DIRECTORY

KEEPING_PAGES = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""For glibc: keep what a batch freed for the next; fresh pages from the kernel cost a tenth of the time."""


def evaluate(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.test.jsonl files.", exists=True, file_okay=False)
    ],
    setting: Annotated[
        str,
        typer.Option(help="What is available: in-domain, semi-ood, ood. Several are separated by commas."),
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
    sweep: Annotated[
        bool,
        typer.Option(help="Try values of each option on training rows held out from adapters and index."),
    ] = False,
    generated: Annotated[
        bool, typer.Option(help="Also let the model write the answers of questions with choices.")
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
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
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
    # Answering needs torch, so a program of its own does it; its progress goes to this terminal.
    command = [sys.executable, "-m", "evaluation", "--data", str(data), "--cards", str(cards)]
    command += ["--setting", setting, "--method", method]
    for name in task or []:
        command += ["--task", name]
    values = {
        "limit": limit,
        "k": k,
        "top-p": top_p,
        "temperature": temperature,
        "density": density,
        "processes": processes,
        "record": record,
        "report": report,
    }
    for option, value in values.items():
        command += [f"--{option}", str(value)] if value is not None else []
    flags = {"--sweep": sweep, "--generated": generated, "--as-jobs": not in_process, "--json": as_json}
    command += [flag for flag, given in flags.items() if given]
    raise typer.Exit(subprocess.run(command, env=KEEPING_PAGES | os.environ, check=False).returncode)
