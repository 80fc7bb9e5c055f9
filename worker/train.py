"""The `train` program: a LoRA a task, one task after another, each resumable."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from db.errors import TrainingDataError
from library.cards import TaskCard
from worker.engine.training import adapter, checkpoint
from worker.engine.training.branches import BranchScorer
from worker.engine.training.held_out import generated_exact_match, measure
from worker.engine.training.loop import Trainer, wrap
from worker.engine.training.rows import TaskRow, read_task, tokenise, training_file
from worker.engine.training.settings import TrainingSettings

CHECKPOINTS = "checkpoints"


def settings_for(card: TaskCard, overrides: dict[str, Any]) -> TrainingSettings:
    """The card's own defaults, then what the caller asked for."""
    defaults = TrainingSettings(
        loss=card.training.loss,
        epochs=card.training.epochs,
        learning_rate=card.training.learning_rate,
        max_examples=card.training.max_examples,
    )
    return replace(defaults, **overrides)


def is_finished(out: Path, task: str) -> bool:
    """Whether the task's adapter is there."""
    return (out / task / "card.json").is_file()


def train_task(
    card: TaskCard,
    data: Path,
    out: Path,
    *,
    base_model: str,
    model_path: str,
    device: torch.device,
    settings: TrainingSettings,
    console: Console,
) -> dict[str, Any]:
    """Train one task's adapter into `out/TASK` and return its card.

    Raises:
        TrainingDataError: No training data, a test file, or a checkpoint of another run.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    examples, held_out_examples = read_task(data, card, settings.seed)
    training = [tokenise(example, card, tokenizer) for example in examples[: settings.max_examples]]
    held_out = [tokenise(example, card, tokenizer) for example in held_out_examples[: settings.held_out_rows]]
    base = AutoModelForCausalLM.from_pretrained(model_path, dtype=getattr(torch, settings.dtype)).to(device)
    base.name_or_path = base_model
    model = wrap(base, settings, base_model)
    score = BranchScorer(base, tokenizer.pad_token_id or tokenizer.eos_token_id)
    directory = out / CHECKPOINTS / card.name
    # Fresh factors have B = 0: this is the base model.
    before = measure(held_out, score, open_ended=card.choices is None)
    accuracy_before = before.accuracy
    if card.choices is None:
        accuracy_before = generated_exact_match(model, tokenizer, held_out)
    console.print(
        f"{card.name}: held out before: {accuracy_before:.3f}, loss {before.loss:.3f}, {before.rows} rows"
    )
    trainer = Trainer(model, score, training, held_out, settings, directory)
    _watch(trainer, card.name, console)
    best = next(entry for entry in trainer.progress.history if entry["step"] == trainer.progress.best_step)
    accuracy_after = best["accuracy"]
    if card.choices is None:
        model.eval()
        accuracy_after = generated_exact_match(model, tokenizer, held_out)
    document = {
        "task": card.name,
        "base_model": base_model,
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": _data(training_file(data, card.name), training, held_out),
        "settings": asdict(settings),
        "prompt": card.prompt,
        "max_prompt_tokens": card.max_prompt_tokens,
        "choices": card.choices.model_dump() if card.choices else None,
        "steps": trainer.steps,
        "best_step": trainer.progress.best_step,
        "tokens": trainer.progress.tokens,
        "minutes": round(trainer.progress.seconds / 60, 2),
        "held_out": {
            "rows": before.rows,
            "metric": card.metric,
            "accuracy_before": accuracy_before,
            "accuracy_after": accuracy_after,
            "loss_before": before.loss,
            "loss_after": best["loss"],
            "history": trainer.progress.history,
        },
        "versions": adapter.versions(),
        "hardware": adapter.hardware(device),
    }
    adapter.write(model, document, out / card.name)
    checkpoint.discard(directory)
    console.print(
        f"{card.name}: held out after: {accuracy_after:.3f}, loss {best['loss']:.3f}, "
        f"step {best['step']} of {trainer.steps}, {document['minutes']} minutes → {out / card.name}"
    )
    return document


def _data(path: Path, training: list[TaskRow], held_out: list[TaskRow]) -> dict[str, Any]:
    return {
        "file": path.name,
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "training_rows": len(training),
        "held_out_rows": len(held_out),
        "training": {row.id: row.sha256 for row in training},
        "held_out": {row.id: row.sha256 for row in held_out},
    }


def _watch(trainer: Trainer, task: str, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]} · {task.fields[speed]} tokens/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        shown = bar.add_task(task, total=trainer.steps, completed=trainer.progress.step, loss="–", speed="–")
        smooth: float | None = None
        for step in trainer.run():
            smooth = step.loss if smooth is None else 0.9 * smooth + 0.1 * step.loss
            bar.update(
                shown, completed=step.number, loss=f"{smooth:.3f}", speed=f"{step.tokens_per_second:.0f}"
            )
            if step.measured:
                accuracy = "–" if step.measured.accuracy is None else f"{step.measured.accuracy:.3f}"
                bar.console.print(
                    f"{task}: step {step.number} of {step.steps}, loss {smooth:.3f}, {step.tokens_per_second:.0f} "
                    f"tokens/s, held out {accuracy}, loss {step.measured.loss:.3f}"
                )


def train(
    cards: dict[str, TaskCard],
    tasks: list[str],
    data: Path,
    out: Path,
    *,
    base_model: str,
    model_path: str,
    device: torch.device,
    overrides: dict[str, Any],
    skip_finished: bool,
    restart: bool,
    console: Console,
) -> list[dict[str, Any]]:
    """Train the tasks in order; the cards of the adapters made.

    Raises:
        TrainingDataError: See `train_task`; raised before any training if a task's file is missing.
    """
    for task in tasks:
        if task not in cards:
            raise TrainingDataError(f"no task card {task}.toml; there are {', '.join(cards)}")
        training_file(data, task)
    made = []
    for task in tasks:
        if skip_finished and is_finished(out, task):
            console.print(f"{task}: finished before; skipped")
            continue
        if restart:
            checkpoint.discard(out / CHECKPOINTS / task)
        made.append(
            train_task(
                cards[task],
                data,
                out,
                base_model=base_model,
                model_path=model_path,
                device=device,
                settings=settings_for(cards[task], overrides),
                console=console,
            )
        )
    return made


def as_json(documents: list[dict[str, Any]]) -> str:
    """One line a card, without the rows' hashes."""
    return "\n".join(
        json.dumps({name: part for name, part in document.items() if name != "data"})
        for document in documents
    )
