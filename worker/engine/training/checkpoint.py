"""A training run's memory on disk: written whole or not at all, so that a kill loses few steps."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loradex.errors import TrainingDataError

NAME = "checkpoint.pt"


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        fingerprint: Of settings, base model and data.
        step: Steps done.
        factors: Trainable tensors, fp32.
        optimizer: Its state dict.
        rng: Torch's random state.
        tokens: Tokens trained on.
        seconds: Time spent.
        history: One dict a held-out measurement: step, accuracy, loss.
        best_step: Step of the best measurement; 0 before the first.
        best_factors: The factors then, rounded to bf16.
    """

    fingerprint: str
    step: int = 0
    factors: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    rng: Tensor | None = None
    tokens: int = 0
    seconds: float = 0.0
    history: list[dict[str, float | None]] = field(default_factory=list)
    best_step: int = 0
    best_factors: dict[str, Tensor] = field(default_factory=dict)


def save(directory: Path, progress: Progress) -> None:
    """Write to a temporary name, flush to the disk, rename."""
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{NAME}.{os.getpid()}"
    with temporary.open("wb") as stream:
        torch.save(vars(progress), stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(directory / NAME)


def load(directory: Path, fingerprint: str) -> Progress:
    """The run's last checkpoint, or a fresh start.

    Raises:
        TrainingDataError: The checkpoint belongs to other settings, another base model or other data, or is not a
            checkpoint.
    """
    path = directory / NAME
    if not path.exists():
        return Progress(fingerprint)
    try:
        progress = Progress(**torch.load(path, weights_only=True))
    except Exception as error:
        raise TrainingDataError(f"{path}: no checkpoint of ours ({error}); --restart begins anew") from error
    if progress.fingerprint != fingerprint:
        raise TrainingDataError(
            f"{path}: begun with other settings, another base model or frame, or other rows; --restart begins anew, "
            "and another --out keeps it"
        )
    return progress


def discard(directory: Path) -> None:
    """Forget the run."""
    (directory / NAME).unlink(missing_ok=True)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Be the only process that trains into this directory; the lock dies with the process.

    Raises:
        TrainingDataError: Another process does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingDataError(
                f"another process trains into {directory}; wait for it or stop it"
            ) from None
        yield
