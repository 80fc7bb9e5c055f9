"""Rows that are computed together, and what is known when that broke."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from loradex.worker.engine.compose import Composition
from loradex.worker.engine.device import require_alive
from loradex.worker.engine.memory import is_out_of_memory, release_cached_memory
from loradex.worker.engine.opening import Opening
from loradex.worker.engine.protocol import Ticket
from loradex.worker.engine.questions import Question
from loradex.worker.engine.ranking import Ranking
from loradex.worker.engine.rows import MergeReport
from loradex.worker.isolation import Failure


@dataclass
class Cohort:
    """Rows that were composed together; their factors are given back when all of them have gone on."""

    composition: Composition
    merged: float
    parts: int = 0


@dataclass
class Part:
    """Some rows of a cohort that are computed in one pass."""

    work: Ranking | Opening
    cohort: Cohort
    reports: Sequence[MergeReport]
    unwanted: set[Ticket] = field(default_factory=set)

    @property
    def questions(self) -> Sequence[Question]:
        return self.work.questions

    def wanted(self) -> list[Question]:
        return [question for question in self.questions if question.ticket not in self.unwanted]

    @property
    def urgent(self) -> bool:
        return any(question.row.urgent for question in self.wanted())


@dataclass(frozen=True)
class Broken:
    """Why a pass broke. The error itself is let go: its traceback holds the tensors of the pass."""

    failure: Failure
    out_of_memory: bool

    @classmethod
    def of(cls, error: Exception, device: torch.device) -> "Broken":
        require_alive(device, error)
        return cls(Failure.of(error), is_out_of_memory(error))

    def release(self) -> None:
        """Frees pages that are kept for later, where memory ran out."""
        if self.out_of_memory:
            release_cached_memory()
