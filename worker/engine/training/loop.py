"""The training loop: seeded order, a checkpoint now and then, the best factors kept."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.pytorch_utils import Conv1D

from loradex.worker.engine.training import checkpoint
from loradex.worker.engine.training.branches import Branches, BranchScorer
from loradex.worker.engine.training.held_out import HeldOut, branch_scores, measure
from loradex.worker.engine.training.rows import TaskRow
from loradex.worker.engine.training.settings import TrainingSettings

ANSWER_SHARE = 0.25
BUCKET = 16


@dataclass(frozen=True)
class Step:
    """One step done, for whoever watches.

    Attributes:
        number: From 1.
        steps: Of how many.
        loss: Of this step.
        tokens_per_second: Over this process's steps.
        measured: The held-out measurement made after it, if any.
    """

    number: int
    steps: int
    loss: float
    tokens_per_second: float
    measured: HeldOut | None


def lora_config(settings: TrainingSettings, base_model: str) -> LoraConfig:
    """The PEFT configuration of an adapter for the base model of that name."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.targets) or "all-linear",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_model,
    )


def wrap(base: Any, settings: TrainingSettings, base_model: str) -> Any:
    """Put fresh factors (B = 0, A drawn from the seed) on a base model; the result is PEFT's model."""
    config = lora_config(settings, base_model)
    config.fan_in_fan_out = any(isinstance(module, Conv1D) for module in base.modules())  # as GPT-2 has it
    base.name_or_path = base_model  # PEFT writes this, which else is a path of this machine, into the adapter
    torch.manual_seed(settings.seed)
    return get_peft_model(base, config)


def order(rows: int, lengths: Sequence[int], settings: TrainingSettings) -> list[list[int]]:
    """Row numbers of every step: shuffled each epoch, then rows of like length put together."""
    draw = random.Random(settings.seed)  # noqa: S311
    steps: list[list[int]] = []
    for _ in range(settings.epochs):
        numbers = list(range(rows))
        draw.shuffle(numbers)
        epoch: list[list[int]] = []
        for start in range(0, rows, settings.batch * BUCKET):
            near = sorted(numbers[start : start + settings.batch * BUCKET], key=lambda row: lengths[row])
            epoch += [near[i : i + settings.batch] for i in range(0, len(near), settings.batch)]
        draw.shuffle(epoch)
        steps += epoch
    return steps


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """Rate of a step counted from 0: linear up over the warm-up, linear down to a twentieth."""
    warm = max(1, math.ceil(settings.warmup * steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    return settings.learning_rate * (1 - 0.95 * (step - warm) / max(1, steps - warm))


def _read(row: TaskRow, loss: str) -> Branches:
    return row.ending if loss == "answer" else row.branches


def batch_loss(rows: Sequence[TaskRow], score: BranchScorer, kind: str) -> Tensor:
    """Mean loss of a batch, natural log.

    `answer`: -log p of the right answer and the end of text, a token. `ranking`: cross-entropy of the right
    branch among the normalised branches plus `ANSWER_SHARE` times its -log p a token.
    """
    if kind == "answer":
        sums = score([row.ending for row in rows])
        return -sums.sum() / sum(len(row.ending.answers[0]) for row in rows)
    losses = []
    sums = score([row.branches for row in rows])
    parts = torch.split(sums, [len(row.branches.answers) for row in rows])
    for row, values, part in zip(rows, branch_scores(sums, rows), parts, strict=True):
        right = len(row.branches.answers[row.label])
        losses.append(-values.log_softmax(0)[row.label] - ANSWER_SHARE * part[row.label] / right)
    return torch.stack(losses).mean()


class Trainer:
    """One run over one task's rows."""

    def __init__(
        self,
        model: Any,
        score: BranchScorer,
        *,
        training: Sequence[TaskRow],
        held_out: Sequence[TaskRow],
        settings: TrainingSettings,
        base_model: Sequence[str],
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Continue from the directory's checkpoint, or start; `base_model` is name and revision of what is wrapped.

        Raises:
            TrainingDataError: The checkpoint there belongs to other settings, another base model or other data.
        """
        self._model = model
        self._score = score
        self._training = training
        self._held_out = held_out
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._on_cpu = next(model.parameters()).device.type == "cpu"
        self._open = not training[0].shares[1:]
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=settings.learning_rate, weight_decay=0.0
        )
        self._steps = order(len(training), [_read(row, settings.loss).tokens for row in training], settings)
        digests = ([row.digest for row in rows] for rows in (training, held_out))
        self.progress = checkpoint.load(directory, settings.fingerprint(base_model, *digests))
        if self.progress.step:
            self._put(self.progress.factors)
            self._optimizer.load_state_dict(self.progress.optimizer)
        if self.progress.rng is not None:
            torch.set_rng_state(self.progress.rng)
        share = len(self._steps) / settings.evaluations
        self._measure_after = {round(share * (part + 1)) for part in range(settings.evaluations)}

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self._steps)

    @property
    def best(self) -> HeldOut:
        """The best measurement so far; there is one after the first."""
        entry = next(entry for entry in self.progress.history if entry["step"] == self.progress.best_step)
        return HeldOut(entry["accuracy"], entry["loss"] or 0.0, len(self._held_out))

    def measure(self) -> HeldOut:
        """The held-out rows under the factors as they are now."""
        self._model.eval()
        return measure(self._held_out, self._score, open_ended=self._open)

    def run(self) -> Iterator[Step]:
        """Train to the end or to the early stop, then put the best factors in place, rounded to bf16."""
        progress = self.progress
        tokens_before = progress.tokens
        seconds_before = progress.seconds
        started = self._clock()
        while progress.step < self.steps and not self._stalled():
            loss = self._step(self._steps[progress.step])
            measured = self._keep_best() if progress.step in self._measure_after else None
            spent = self._clock() - started
            progress.seconds = seconds_before + spent
            if measured or progress.step % self._settings.checkpoint_steps == 0:
                self._checkpoint()
            speed = (progress.tokens - tokens_before) / max(spent, 1e-9)
            yield Step(progress.step, self.steps, loss, speed, measured)
        self._put(progress.best_factors)

    def _step(self, numbers: Sequence[int]) -> float:
        rows = [self._training[number] for number in numbers]
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.progress.step, self.steps, self._settings)
        self._optimizer.zero_grad(set_to_none=True)
        # On a CPU, torch 2.13's flash attention takes a fifth longer for short sequences than the plain one.
        with sdpa_kernel(SDPBackend.MATH) if self._on_cpu else nullcontext():
            loss = batch_loss(rows, self._score, self._settings.loss)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._settings.clip)
        self._optimizer.step()
        self.progress.step += 1
        self.progress.tokens += sum(_read(row, self._settings.loss).tokens for row in rows)
        return float(loss.detach())

    def _keep_best(self) -> HeldOut:
        """Measure the factors as they would be saved, rounded, and remember them if they are the best yet."""
        exact = self._factors()
        rounded = {name: value.bfloat16() for name, value in exact.items()}
        self._put(rounded)
        measured = self.measure()
        self._put(exact)
        best = next(
            (entry for entry in self.progress.history if entry["step"] == self.progress.best_step), None
        )
        if best is None or measured.beats(HeldOut(best["accuracy"], best["loss"] or 0.0, measured.rows)):
            self.progress.best_step = self.progress.step
            self.progress.best_factors = rounded
        self.progress.history.append(
            {"step": self.progress.step, "accuracy": measured.score, "loss": measured.loss}
        )
        return measured

    def _stalled(self) -> bool:
        after = [entry for entry in self.progress.history if (entry["step"] or 0) > self.progress.best_step]
        return len(after) >= self._settings.patience

    def _factors(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def _put(self, factors: dict[str, Tensor]) -> None:
        for name, value in factors.items():
            self._parameters[name].copy_(value)

    def _checkpoint(self) -> None:
        self.progress.factors = self._factors()
        self.progress.optimizer = self._optimizer.state_dict()
        self.progress.rng = torch.get_rng_state()
        checkpoint.save(self._directory, self.progress)
