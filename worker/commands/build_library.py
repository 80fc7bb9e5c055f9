"""`loradex library build`: vectors and manifest for adapters that are trained."""

from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal
from loradex.library.card_option import OUR_CARDS, Cards

MIB = 1 << 20


def build(
    directory: Annotated[Path, typer.Argument(help="Library folder; its adapters/<task> are there already.")],
    data: Annotated[Path, typer.Option(help="Directory of files of training examples, JSON lines or CSV.")],
    per_task: Annotated[int, typer.Option(min=1, help="Example vectors of one task at most.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    cards: Cards = OUR_CARDS,
) -> None:
    """Write a library's example vectors and manifest; no text of an example is written.

    Example: loradex library build my-library --data data
    """
    from loradex.worker.build_library import build_library
    from loradex.worker.settings import WorkerSettings

    manifest = build_library(WorkerSettings(), directory, data, cards, per_task=per_task, seed=seed)
    terminal.say(
        f"{directory}: {len(manifest.adapters)} adapters, {sum(manifest.examples.values())} example vectors, "
        f"{manifest.total_bytes / MIB:.1f} MiB"
    )
