"""Asks Postgres which adapters answer a test question, by the functions that serve jobs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString

import psycopg
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb

from loradex.db.session import translate_errors
from loradex.library.vectors import Vectors
from loradex.service.client.request import Request

CHUNK = 64
RIVAL_TASKS = 3
RIVAL_SOFTNESS = {"centroid": 0.2, "lora_retriever": None}

ROUTE: LiteralString = """
    select (j.settings -> 'density')::float8, r.routing
    from loradex.decide_routes(%s, %b) r
    join loradex.jobs j on j.id = r.job_id
    order by array_position(%s, r.job_id)"""
HIDE: LiteralString = """
    delete from loradex.example_embeddings e using (
        select id from loradex.examples
        join unnest(%s::text[], %s::text[]) hidden(task, source_ref) using (task, source_ref)
        union select id from loradex.examples where sha256 = any (%s::bpchar[])) x
    where x.id = e.example_id"""

Hidden = tuple[str, str, str | None]
"""Task, `source_ref` and hash of an example that is out of the index: the same text may lie there by another id."""


@dataclass(frozen=True)
class Routing:
    """What Postgres decided for one question.

    Attributes:
        merge: How the adapters are merged.
        calibrated: Whether the result is rescaled.
        density: Share of entries a trimming merge keeps.
        mixture: Adapter, task, sha256, uri and weight of each adapter.
        distribution: Task, probability, in_nucleus of each task the neighbours voted for.
    """

    merge: str
    calibrated: bool
    density: float
    mixture: Sequence[Mapping[str, Any]]
    distribution: Sequence[Mapping[str, Any]]


class Router:
    """Hands questions in as jobs, has them routed, and takes them back: nothing stays, no worker sees them.

    Args:
        connection: In autocommit mode.
        base_model: Whose adapters are mixed.
        encoder: Of the questions' vectors.
        hidden: Examples that are out of the index while a question is routed.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        base_model: str,
        encoder: str,
        hidden: Collection[Hidden] = (),
    ) -> None:
        self._connection = connection
        register_vector(connection)
        self._base_model = base_model
        self._encoder = encoder
        self._hidden = hidden
        self._rivals = (files("loradex.evaluation") / "rivals.sql").read_bytes()

    def jobs(self, requests: Sequence[Request], vectors: Sequence[Vectors]) -> list[Routing]:
        """What is decided for each request; its vector is float32 `[dimensions]`.

        Raises:
            LoradexError: A request is refused, as a job would be.
        """
        routings: list[Routing] = []
        for start in range(0, len(requests), CHUNK):
            documents = [
                request.document() | {"base_model": self._base_model, "encoder": self._encoder}
                for request in requests[start : start + CHUNK]
            ]
            queries = list(vectors[start : start + CHUNK])
            with translate_errors(), self._connection.transaction(force_rollback=True):
                self._hide()
                accepted = self._connection.execute(
                    "select job_id from loradex.enqueue_jobs(%s) order by ordinal", (Jsonb(documents),)
                ).fetchall()
                ids = [row[0] for row in accepted]
                rows = self._connection.execute(ROUTE, (ids, queries, ids)).fetchall()
            routings += [
                Routing(
                    routing["merge"],
                    routing["calibrated"],
                    density,
                    routing["mixture"],
                    routing["distribution"],
                )
                for density, routing in rows
            ]
        return routings

    def rival(
        self,
        method: str,
        vectors: Sequence[Vectors],
        *,
        exclude_tasks: Sequence[str] = (),
        exclude_adapters: Sequence[str] = (),
    ) -> list[Routing]:
        """What a rival would choose for each vector, float32 `[dimensions]`."""
        values = {
            "base_model": self._base_model,
            "encoder": self._encoder,
            "exclude_tasks": list(exclude_tasks),
            "exclude_adapters": list(exclude_adapters),
            "queries": list(vectors),
            "softness": RIVAL_SOFTNESS[method],
            "tasks": RIVAL_TASKS,
        }
        with translate_errors(), self._connection.transaction(force_rollback=True):
            self._hide()
            rows = self._connection.execute(self._rivals, values).fetchall()
        mixtures = [row[0] for row in rows] or [() for _ in vectors]
        return [
            Routing(merge="cat", calibrated=False, density=1.0, mixture=mixture, distribution=())
            for mixture in mixtures
        ]

    def _hide(self) -> None:
        if self._hidden:
            tasks, rows, hashes = zip(*self._hidden, strict=True)
            self._connection.execute(HIDE, (list(tasks), list(rows), list(hashes)))
