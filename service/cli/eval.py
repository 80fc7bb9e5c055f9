"""`loradex eval`: how good the methods are."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from library.cards import TASKS_DIRECTORY


def evaluate(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.test.jsonl files.", exists=True, file_okay=False)
    ],
    setting: Annotated[
        str, typer.Option(help="What is available: in-domain. Several are separated by commas.")
    ] = "in-domain",
    method: Annotated[
        str, typer.Option(help="What answers: base, own. Several are separated by commas.")
    ] = "base,own",
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Test rows a task at most.")] = None,
    adapters: Annotated[
        Path | None, typer.Option(help="Directory of TASK/ adapters. [default: the starter library's]")
    ] = None,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
    record: Annotated[
        Path | None, typer.Option(help="File that keeps what was measured; the same command goes on there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a task and method.")] = False,
) -> None:
    """Measure methods on test files: choices by log-likelihood, open questions by exact match.

    Example: loradex eval --data data --method base,own --limit 50
    """
    # Answering needs torch, so a program of its own does it; its progress goes to this terminal.
    command = [sys.executable, "-m", "evaluation", "--data", str(data), "--cards", str(cards)]
    command += ["--setting", setting, "--method", method]
    for name in task or []:
        command += ["--task", name]
    for name, value in {"limit": limit, "adapters": adapters, "record": record}.items():
        command += [f"--{name}", str(value)] if value is not None else []
    command += ["--json"] if as_json else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)
