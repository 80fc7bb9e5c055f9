"""`python -m worker …`: the programs that need torch, each imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from library.cards import TASKS_DIRECTORY

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Programs of a Loradex worker.")


@app.command()
def serve() -> None:
    """Answer jobs until SIGTERM."""
    from worker.app import serve as run
    from worker.settings import WorkerSettings

    run(WorkerSettings())


@app.command()
def replay(
    answers: Annotated[list[str], typer.Argument(help="Ids of the answers to rebuild.")] = [],  # noqa: B006
    sample: Annotated[int, typer.Option(help="Replay this many answers drawn at random.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Rebuild answers from their stored facts; one JSON object a line."""
    from worker.replay import replay as run
    from worker.settings import WorkerSettings

    raise typer.Exit(run(WorkerSettings(), answers, sample, seed))


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(help="JSONL files of examples.")],
    task: Annotated[str | None, typer.Option(help="Refuse rows of any other task.")] = None,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Add examples with their vectors to the database; a file is added whole or not at all."""
    from worker.ingest import ingest as run
    from worker.settings import WorkerSettings

    raise typer.Exit(run(WorkerSettings(), files, task, cards, as_json=as_json))


@app.command()
def build_library(
    directory: Annotated[Path, typer.Argument(help="Library folder; its adapters/<task> are there already.")],
    data: Annotated[Path, typer.Option(help="Directory of JSONL files of training examples.")],
    per_task: Annotated[int, typer.Option(min=1, help="Example vectors of one task at most.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
) -> None:
    """Write a library's example vectors and manifest; no text of an example is written."""
    from worker.build_library import build_library as run
    from worker.settings import WorkerSettings

    raise typer.Exit(run(WorkerSettings(), directory, data, cards, per_task=per_task, seed=seed))


if __name__ == "__main__":
    app()
