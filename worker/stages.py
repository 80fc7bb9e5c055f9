"""What a job is after each stage of its way: what was known before, and what the stage found out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loradex.worker.clock import Clock
from loradex.worker.engine.embed import EmbeddedQuestion
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.jobs import Job, Routing


@dataclass(frozen=True)
class Claimed:
    job: Job
    clock: Clock


@dataclass(frozen=True)
class Embedded(Claimed):
    question: EmbeddedQuestion


@dataclass(frozen=True)
class Routed(Embedded):
    routing: Routing


@dataclass(frozen=True)
class Prepared(Routed):
    recipe: Recipe
    row: Row
    adapters: Mapping[str, Path]


@dataclass(frozen=True)
class Answered(Prepared):
    result: RowResult
