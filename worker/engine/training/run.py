"""One task's run from its file to its adapter."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from loradex.library.adapter_files import content_hash
from loradex.library.cards import TaskCard
from loradex.library.examples import Example
from loradex.worker.engine.form import Form
from loradex.worker.engine.load import load_model
from loradex.worker.engine.text import Text
from loradex.worker.engine.training import adapter, checkpoint
from loradex.worker.engine.training.branches import BranchScorer
from loradex.worker.engine.training.held_out import HeldOut, measure, written_score
from loradex.worker.engine.training.loop import Step, Trainer, wrap
from loradex.worker.engine.training.rows import TaskRow, read_task, tokenise, training_file
from loradex.worker.engine.training.settings import DIGITS, TrainingSettings


@dataclass(frozen=True)
class Base:
    """The model that is adapted.

    Attributes:
        name: As adapters and the database name it.
        path: Where it lies, in Hugging Face form.
        frame: Template around every prompt.
        revision: Of its files, as workers name it.
    """

    name: str
    path: Path
    frame: str
    revision: str


@dataclass(frozen=True)
class Begun:
    """A run that starts or goes on: steps done of steps, and the base model on the held-out rows."""

    task: str
    step: int
    steps: int
    before: HeldOut


Watch = Callable[[Begun | Step], None]


def device_of(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def train_task(
    card: TaskCard,
    data: Path,
    out: Path,
    *,
    base: Base,
    device: torch.device,
    settings: TrainingSettings,
    start: Path | None,
    restart: bool,
    watch: Watch,
) -> dict[str, Any]:
    """Train one task's adapter into `out/TASK`; the document of its `card.json`.

    A killed run goes on from `out/checkpoints/TASK`. With `start`, a new run begins with the factors of that
    adapter of the same task instead of fresh ones.

    Raises:
        TrainingDataError: No training data, a test file, too few rows, a checkpoint of another run, an
            adapter to start from that does not fit, or another process trains this task.
        ExampleFileError: A line of the training file is refused.
    """
    directory = out / "checkpoints" / card.name
    with checkpoint.alone(directory):
        if restart:
            checkpoint.discard(directory)
        examples, held_out_examples = read_task(data, card, settings.seed)
        model, tokenizer = load_model(base.path, device, Form(settings.dtype))
        text = Text(tokenizer)

        def rows(chosen: Sequence[Example]) -> list[TaskRow]:
            return [tokenise(example, card, text, tokenizer.eos_token_id, base.frame) for example in chosen]

        training = rows(examples[: settings.max_examples])
        held_out = rows(held_out_examples[: settings.held_out_rows])
        facts = _data(training_file(data, card.name), training, held_out)
        document = {
            "task": card.name,
            "base_model": base.name,
            "base_model_revision": base.revision,
            "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": facts,
            "prompt": card.prompt,
            "frame": base.frame,
            "max_prompt_tokens": card.max_prompt_tokens,
            "answer_tokens": card.answer_tokens,
            "choices": card.choices.model_dump() if card.choices else None,
        }
        if start is not None:
            settings = replace(settings, start=content_hash(start))
            before_this = adapter.earlier(start, document | {"settings": asdict(settings)})
            document["started_from"] = _other_rows(before_this, facts["training"])
        tuned = wrap(model, settings, base.name)
        score = BranchScorer(model, tokenizer.eos_token_id)

        def with_texts(measured: HeldOut) -> HeldOut:
            if card.choices is not None:
                return measured
            return replace(measured, score=written_score(tuned, tokenizer, held_out, card))

        # Fresh factors have B = 0: this is the base model.
        before = with_texts(measure(held_out, score, open_ended=card.choices is None))
        if start is not None:
            adapter.put(tuned, start)
        trainer = Trainer(
            tuned,
            score,
            training=training,
            held_out=held_out,
            settings=settings,
            base_model=(base.name, base.revision),
            directory=directory,
        )
        watch(Begun(card.name, trainer.progress.step, trainer.steps, before))
        for step in trainer.run():
            watch(step)
        document |= {
            "settings": asdict(settings),
            "steps": trainer.steps,
            "best_step": trainer.progress.best_step,
            "tokens": trainer.progress.tokens,
            "minutes": round(trainer.progress.seconds / 60, 2),
            "held_out": _held_out(card.metric, before, with_texts(trainer.best), trainer),
            "versions": adapter.versions(),
            "hardware": adapter.hardware(device),
        }
        adapter.write(tuned, document, out / card.name)
        checkpoint.discard(directory)
        return document


def _held_out(metric: str, before: HeldOut, after: HeldOut, trainer: Trainer) -> dict[str, Any]:
    return {
        "rows": before.rows,
        "metric": metric,
        f"{metric}_before": before.score,
        f"{metric}_after": after.score,
        "loss_before": before.loss,
        "loss_after": after.loss,
        "history": trainer.progress.history,
    }


def _other_rows(card: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """A card of before, with those rows it was trained on that are not known yet: they stay in the factors.

    Whoever looks for rows that an adapter has seen looks for `data.training` at any depth (`store.rows_trained_on`).
    """
    seen = card["data"].get("training", {})
    data = {name: part for name, part in card["data"].items() if name not in {"training", "held_out"}}
    data["training"] = {row: digits for row, digits in seen.items() if row not in known}
    deeper = {}
    if "started_from" in card:
        deeper["started_from"] = _other_rows(card["started_from"], {*known, *seen})
    return card | {"data": data} | deeper


def _data(path: Path, training: Sequence[TaskRow], held_out: Sequence[TaskRow]) -> dict[str, Any]:
    # Whole digests of every row of 22 tasks would be a megabyte of a library that has to be small.
    lines = sorted(f"{row.id} {row.sha256}\n" for row in (*training, *held_out))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return {
        "file": path.name,
        "file_sha256": digest.hexdigest(),
        "training_rows": len(training),
        "held_out_rows": len(held_out),
        "rows_sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "training": {row.id: row.sha256[:DIGITS] for row in training},
        "held_out": {row.id: row.sha256[:DIGITS] for row in held_out},
    }
