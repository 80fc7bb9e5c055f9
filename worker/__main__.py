"""`python -m worker …`: the programs that need torch, each imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from library.cards import TASKS_DIRECTORY

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Programs of a Loradex worker.",
)


@app.command()
def serve() -> None:
    """Answer jobs until SIGTERM."""
    from db.errors import LoradexError
    from worker.app import serve as run
    from worker.settings import WorkerSettings

    try:
        run(WorkerSettings())
    except LoradexError as error:
        typer.echo(f"loradex: {error}", err=True)
        raise typer.Exit(error.exit_code) from None


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


@app.command()
def train(
    *,
    data: Annotated[Path, typer.Option(help="Directory of TASK.train.jsonl files.")],
    task: Annotated[list[str] | None, typer.Option(help="Name of a task card; none means all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the adapters.")] = None,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    max_examples: Annotated[int | None, typer.Option(help="Training examples of a task.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times each example is seen.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the schedule.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the factors.")] = None,
    alpha: Annotated[int | None, typer.Option(help="LoRA's alpha; twice the rank if not given.")] = None,
    batch: Annotated[int | None, typer.Option(help="Examples a step.")] = None,
    evaluations: Annotated[int | None, typer.Option(help="Times the held-out tenth is measured.")] = None,
    held_out_rows: Annotated[int | None, typer.Option(help="Held-out rows measured at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of split, order and start.")] = None,
    start: Annotated[Path | None, typer.Option(help="Directory of TASK/ adapters to start from.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget checkpoints.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a task.")] = False,
) -> None:
    """Train a LoRA a task; without --task all that have a card and are not finished."""
    from worker.settings import WorkerSettings
    from worker.train import TrainRequest
    from worker.train import train as run

    given = {
        "max_examples": max_examples,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "rank": rank,
        "alpha": alpha if alpha is not None or rank is None else 2 * rank,
        "batch": batch,
        "evaluations": evaluations,
        "held_out_rows": held_out_rows,
        "seed": seed,
    }
    request = TrainRequest(
        tasks=tuple(task or ()),
        data=data,
        out=out,
        cards=cards,
        device=device,
        skip_finished=not task,
        start=start,
        restart=restart,
        overrides={name: value for name, value in given.items() if value is not None},
    )
    raise typer.Exit(run(WorkerSettings(), request, as_json=as_json))


if __name__ == "__main__":
    app()
