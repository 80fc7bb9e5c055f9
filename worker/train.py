"""Trains a LoRA per task, one task after another, each resumable."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from loradex.bounded_file import bounded_text
from loradex.errors import TrainingDataError
from loradex.library.cards import Metric, TaskCard, load_cards
from loradex.library.model_files import files_of
from loradex.worker.engine.load import shipped_model
from loradex.worker.engine.training.adapter import MAX_BYTES
from loradex.worker.engine.training.held_out import HeldOut
from loradex.worker.engine.training.loop import Step
from loradex.worker.engine.training.rows import read_task
from loradex.worker.engine.training.run import Base, Begun, Watch, device_of, train_task
from loradex.worker.engine.training.settings import TrainingSettings
from loradex.worker.settings import WorkerSettings

SMOOTHING = 0.9


@dataclass(frozen=True)
class TrainRequest:
    """What the caller asked for.

    Attributes:
        tasks: Their names; none means every card.
        data: Directory of `TASK.train.jsonl` or `TASK.train.csv`.
        out: Directory of the adapters; None means `train` in the home directory.
        cards: Directory of task cards.
        device: cpu, cuda, auto, or None for the worker's own.
        skip_finished: Leave out tasks whose adapter is in `out`.
        start: Directory with TASK/ adapters to start from; None starts from fresh factors.
        restart: Forget checkpoints.
        overrides: Fields of `TrainingSettings` that differ from the task cards' defaults.
    """

    tasks: tuple[str, ...]
    data: Path
    out: Path | None
    cards: Path
    device: str | None
    skip_finished: bool
    start: Path | None
    restart: bool
    overrides: Mapping[str, Any]


def train(settings: WorkerSettings, request: TrainRequest, *, as_json: bool) -> int:
    """Train the tasks and say what came out; the exit code."""
    try:
        _train(settings, request, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("loradex: stopped; the same command goes on from the last checkpoint\n")
        return 130
    return 0


def settings_for(card: TaskCard, overrides: Mapping[str, Any]) -> TrainingSettings:
    """The card's own defaults, then what the caller asked for."""
    defaults = TrainingSettings(
        loss=card.training.loss,
        epochs=card.training.epochs,
        learning_rate=card.training.learning_rate,
        max_examples=card.training.max_examples,
    )
    return replace(defaults, **overrides)


def _train(settings: WorkerSettings, request: TrainRequest, *, as_json: bool) -> None:
    cards = load_cards(request.cards)
    tasks = request.tasks or tuple(cards)
    # Nothing is trained before every file that is asked for was read and found right.
    for task in tasks:
        if task not in cards:
            raise TrainingDataError(
                f"no task card {task}.toml in {request.cards}; there are: {', '.join(cards)}"
            )
        read_task(request.data, cards[task], TrainingSettings().seed)
    out = request.out or settings.home / "train"
    path = settings.base_model_path or shipped_model(settings.home / "cache" / "models")
    base = Base(settings.base_model, path, settings.frame, files_of(path).revision)
    finished = {task for task in tasks if request.skip_finished and _is_finished(out / task, base)}
    console = Console(stderr=True)
    for number, task in enumerate(tasks, start=1):
        if task in finished:
            console.print(f"{task}: finished before, skipped")
            continue
        name = f"{task} ({number} of {len(tasks)})" if len(tasks) > 1 else task
        with _shown(console, name, cards[task].metric) as watch:
            document = train_task(
                cards[task],
                request.data,
                out,
                base=base,
                device=device_of(request.device or settings.device),
                settings=settings_for(cards[task], request.overrides),
                start=request.start / task if request.start is not None else None,
                restart=request.restart,
                watch=watch,
            )
        sys.stdout.write((_line(document, out / task) if as_json else _sentence(document, out / task)) + "\n")
        sys.stdout.flush()


def _is_finished(directory: Path, base: Base) -> bool:
    """Whether the task's adapter for this base model is there.

    Raises:
        TrainingDataError: What is there is another model's, or no adapter of ours.
    """
    path = directory / "card.json"
    if not path.is_file():
        return False
    try:
        card = json.loads(bounded_text(path, MAX_BYTES))
        model, revision = card["base_model"], card.get("base_model_revision", base.revision)
    except (OSError, KeyError, TypeError, AttributeError, ValueError):
        raise TrainingDataError(
            f"{path}: no card that loradex train wrote; move it away, or name another --out"
        ) from None
    if (model, revision) != (base.name, base.revision):
        raise TrainingDataError(
            f"{directory}: trained for {model} with other files than those of {base.name} now; name another --out"
            if model == base.name
            else f"{directory}: trained for {model}, and the base model is {base.name}; name another --out"
        )
    return True


def _line(document: Mapping[str, Any], directory: Path) -> str:
    # The rows' hashes are thousands, and stand in card.json.
    shown = {name: part for name, part in document.items() if name != "data"}
    return json.dumps(shown | {"directory": str(directory)})


def _sentence(document: Mapping[str, Any], directory: Path) -> str:
    held_out = document["held_out"]
    metric = held_out["metric"]
    return (
        f"{document['task']}: {metric} on {held_out['rows']} held-out rows "
        f"{held_out[f'{metric}_before']:.3f} → {held_out[f'{metric}_after']:.3f} "
        f"in {document['minutes']} minutes: {directory}"
    )


@contextmanager
def _shown(console: Console, name: str, metric: Metric) -> Iterator[Watch]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    smooth: float | None = None
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(name, total=None, facts="reading and measuring the base model")

        def watch(event: Begun | Step) -> None:
            nonlocal smooth
            if isinstance(event, Begun):
                progress.update(bar, total=event.steps, completed=event.step, facts="")
                again = f", going on at step {event.step}" if event.step else ""
                console.print(f"{name}: held out before: {_figures(event.before, metric)}{again}")
                return
            smooth = event.loss if smooth is None else SMOOTHING * smooth + (1 - SMOOTHING) * event.loss
            facts = f"loss {smooth:.3f}, {event.tokens_per_second:.0f} tokens/s"
            progress.update(bar, completed=event.number, facts=facts)
            if event.measured is not None:
                console.print(
                    f"{name}: step {event.number} of {event.steps}, {facts}, "
                    f"held out: {_figures(event.measured, metric)}"
                )

        yield watch


def _figures(measured: HeldOut, metric: Metric) -> str:
    score = "" if measured.score is None else f"{metric} {measured.score:.3f}, "
    return f"{score}loss {measured.loss:.3f}"
