"""What a training run is told; the same settings and the same data make the same adapter."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

DIGITS = 16
"""Hexadecimal digits of a row's hash that a card keeps: enough to tell the rows of a task apart."""


@dataclass(frozen=True)
class TrainingSettings:
    """Hyper-parameters of one run.

    Attributes:
        rank: Rank of the factors.
        alpha: LoRA's numerator; the update is scaled by alpha / rank.
        targets: Linear layers that get factors; none means all but the head.
        learning_rate: Peak of the schedule: linear warm-up, then linear decay to a twentieth.
        warmup: Share of the steps that warm up.
        batch: Examples a step.
        epochs: Times each example is seen.
        max_examples: Training examples used; None means all.
        held_out_rows: Held-out examples measured at most.
        loss: See the task card.
        clip: Largest norm of the gradient.
        evaluations: Times the held-out rows are measured in the training, the last after the last step.
        patience: Measurements without a new best one after which the training stops.
        checkpoint_steps: Steps between two checkpoints.
        seed: Of the split, the order and the factors' start. One seed for a library: all its adapters start
            from the same A, which keeps merged factors coherent.
        start: Content hash of the adapter whose factors the run starts from; None starts from fresh ones.
        dtype: Numbers the frozen base model computes in; the factors train in fp32 and are saved in bf16.
    """

    rank: int = 3
    alpha: int = 6
    targets: tuple[str, ...] = ()
    learning_rate: float = 1e-3
    warmup: float = 0.06
    batch: int = 8
    epochs: int = 1
    max_examples: int | None = None
    held_out_rows: int = 200
    loss: Literal["answer", "ranking"] = "answer"
    clip: float = 1.0
    evaluations: int = 4
    patience: int = 2
    checkpoint_steps: int = 20
    seed: int = 20261123
    start: str | None = None
    dtype: Literal["float32", "bfloat16"] = "bfloat16"

    def fingerprint(self, base_model: Sequence[str], *rows: Sequence[str]) -> str:
        """SHA-256 over settings, base model and data: a checkpoint is continued only under the same.

        Args:
            base_model: Its name and the revision of its files.
            rows: Digests of those trained on, and of those held out.
        """
        document = json.dumps([asdict(self), list(base_model), *map(list, rows)], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()
