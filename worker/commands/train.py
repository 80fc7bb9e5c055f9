"""`loradex train`: a LoRA of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from loradex.library.card_option import OUR_CARDS, Cards


def train(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.train.jsonl or .csv files.", exists=True, file_okay=False)
    ],
    task: Annotated[list[str] | None, typer.Option(help="Name of a task card; may be given again.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every task that has a card; finished ones are skipped.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the adapters. [default: train in LORADEX_HOME]")
    ] = None,
    cards: Cards = OUR_CARDS,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto. [default: LORADEX_DEVICE]")] = None,
    max_examples: Annotated[
        int | None, typer.Option(min=1, help="Training examples of a task. [default: the card's]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times each example is seen. [default: the card's]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the schedule. [default: the card's]")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the factors. [default: 3]")] = None,
    alpha: Annotated[int | None, typer.Option(min=1, help="LoRA's alpha. [default: twice the rank]")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Examples a step. [default: 8]")] = None,
    evaluations: Annotated[
        int | None, typer.Option(min=1, help="Times the held-out tenth is measured. [default: 4]")
    ] = None,
    held_out_rows: Annotated[
        int | None, typer.Option(min=1, help="Held-out rows measured at most. [default: 200]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of split, order and start. [default: 20261123]")] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Directory of TASK/ adapters to go on from, with more rows or another rate."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget the checkpoint of a stopped run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a task.")] = False,
) -> None:
    """Train a LoRA for a task with PEFT; a stopped run goes on where it was when the command is given again.

    Test files (*.test.jsonl, *.test.csv) are refused.

    Example: loradex train --task rte --data data
    """
    if bool(task) == every:
        raise typer.BadParameter("give --task NAME (once or more) or --all")
    from loradex.worker.settings import WorkerSettings
    from loradex.worker.train import TrainRequest
    from loradex.worker.train import train as run

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
        skip_finished=every,
        start=start,
        restart=restart,
        overrides={name: value for name, value in given.items() if value is not None},
    )
    raise typer.Exit(run(WorkerSettings(), request, as_json=as_json))
