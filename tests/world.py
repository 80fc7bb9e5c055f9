"""A small library in a database, and the steps of a job through it, in the fewest words a test can say."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.types.json import Jsonb

Vector = npt.NDArray[np.float32]

ENCODER = "all-MiniLM-L6-v2"
BASE_MODEL = "smollm2-135m-instruct"
DIMENSIONS = 16
# The last task has examples and no adapter.
TASKS = ("apples", "boats", "clouds", "deserts", "embers")
WITH_ADAPTER = TASKS[:4]
EXAMPLES_A_TASK = 40


@dataclass
class World:
    """A connection to the database and where each task's examples gather (unit vectors)."""

    connection: psycopg.Connection[tuple[Any, ...]]
    centres: Mapping[str, Vector]
    rng: np.random.Generator

    @classmethod
    def stocked(
        cls,
        connection: psycopg.Connection[tuple[Any, ...]],
        *,
        tasks: Sequence[str] = TASKS,
        with_adapter: Sequence[str] = WITH_ADAPTER,
        examples: int = EXAMPLES_A_TASK,
        seed: int = 7,
    ) -> "World":
        """Register everything and add `examples` a task."""
        world = cls.found(connection, tasks=tasks, seed=seed)
        with connection.transaction():
            connection.execute("select loradex.register_encoder(%s, 'r1', %s)", (ENCODER, DIMENSIONS))
            connection.execute("select loradex.register_base_model(%s, 'b1', 512)", (BASE_MODEL,))
            for task in tasks:
                connection.execute("select loradex.register_task(%s, 'things', 'accuracy', '{}')", (task,))
            for task in with_adapter:
                world.register(task)
            for task in tasks:
                for number in range(examples):
                    world.add_example(task, f"{task}-{number}", world.near(task))
            # Else each test that records an answer, and takes it back, would make it; record_answer does.
            connection.execute("select loradex.make_partition(now())")
        return world

    @classmethod
    def found(
        cls, connection: psycopg.Connection[tuple[Any, ...]], *, tasks: Sequence[str] = TASKS, seed: int = 7
    ) -> "World":
        """The world of a database that was stocked with the same tasks and seed."""
        rng = np.random.default_rng(seed)
        return cls(connection, {task: unit(rng.normal(size=DIMENSIONS)) for task in tasks}, rng)

    @property
    def month(self) -> str:
        """The newest month that answers have a part for, `2026_11` of `answers_2026_11`; the newest answer is there.

        No clock is asked: a month may turn between an answer and the question for its part.
        """
        return str(
            self.value(
                "select max(right(i.inhrelid::regclass::text, 7)) from pg_inherits i "
                "where i.inhparent = 'loradex.answers'::regclass"
            )
        )

    def near(self, task: str, spread: float = 0.2) -> Vector:
        """A unit vector near the task's centre."""
        return unit(self.centres[task] + spread * self.rng.normal(size=DIMENSIONS))

    def register(self, task: str, content: str = "", name: str | None = None) -> int:
        """Register an adapter `<task>-lora`; other content is another version."""
        row = self.connection.execute(
            """
            select adapter_id from loradex.register_adapter(
                %s, %s, %s, %s, %s, 8, 16, '{q_proj,v_proj}', 'float32', 4096, 1.5)
            """,
            (name or f"{task}-lora", task, BASE_MODEL, sha256(task + content), f"library/{task}{content}"),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def add_example(self, task: str, ref: str, vector: Vector) -> int:
        prompt, target = f"What about {ref}?", "yes"
        row = self.connection.execute(
            """
            with example as (
                insert into loradex.examples (task, source_ref, prompt, target, sha256)
                values (%s, %s, %s, %s, %s) returning id, task
            )
            insert into loradex.example_embeddings (example_id, task, encoder, embedding)
            select id, task, %s, %s::vector from example returning example_id
            """,
            (task, ref, prompt, target, sha256(f"{prompt}\x1f{target}"), ENCODER, text_of(vector)),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def enqueue(self, *jobs: Mapping[str, Any]) -> list[UUID]:
        """Ids of these jobs, which need only what matters to the test."""
        wanted = [{"prompt": "Is it warm?", **job} for job in (jobs or ({},))]
        rows = self.connection.execute(
            "select job_id from loradex.enqueue_jobs(%s) order by ordinal", (Jsonb(wanted),)
        ).fetchall()
        return [row[0] for row in rows]

    def claim(
        self, worker: str = "w1", rows: int = 100, lease: str = "30s", attempts: int = 3
    ) -> dict[UUID, int]:
        """Attempt number of each job that was claimed."""
        rows_ = self.connection.execute(
            "select id, attempt from loradex.claim_jobs(%s, %s, %s::interval, %s)",
            (worker, rows, lease, attempts),
        ).fetchall()
        return {row[0]: row[1] for row in rows_}

    def route(self, jobs: Sequence[UUID], queries: Sequence[Vector]) -> dict[UUID, dict[str, Any]]:
        rows = self.connection.execute(
            "select job_id, routing from loradex.route_jobs(%s, %s::vector[])",
            (list(jobs), [text_of(query) for query in queries]),
        ).fetchall()
        return {row[0]: row[1] for row in rows}

    def record(self, job: UUID, attempt: int, routing: Mapping[str, Any], **changes: Any) -> UUID:
        """The answer to a job that was routed; what a worker says about it is changed by `changes`."""
        document = self.said(job, routing) | changes
        row = self.connection.execute(
            "select loradex.record_answer(%s, %s, %s)", (job, attempt, Jsonb(document))
        ).fetchone()
        assert row is not None
        answer: UUID = row[0]
        return answer

    def said(self, job: UUID, routing: Mapping[str, Any]) -> dict[str, Any]:
        """What a worker says about its answer to a job."""
        ((choices, density, revision),) = self.rows(
            "select j.choices, (j.settings ->> 'density')::float8, b.revision from loradex.jobs j "
            "join loradex.base_models b on b.name = j.base_model where j.id = %s",
            job,
        )
        recipe_hash = self.value(
            "select loradex.recipe_hash(%s, %s, %s, 'float32', %s)",
            *(routing["merge"], routing["calibrated"], density, Jsonb(routing["mixture"])),
        )
        document = answer_document(choices, len(routing["mixture"]), recipe_hash)
        return document | {"base_model_revision": revision}

    def answered(self, *jobs: Mapping[str, Any], near: str | None = None) -> list[UUID]:
        """Ids of the answers to these jobs, taken all the way; queries lie near one task, or each in turn."""
        ids = self.enqueue(*jobs)
        attempts = self.claim(rows=len(ids))
        tasks = list(self.centres)
        queries = [self.near(near or tasks[number % len(tasks)]) for number in range(len(ids))]
        routings = self.route(ids, queries)
        return [self.record(job, attempts[job], routings[job]) for job in ids]

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement.encode(), values).fetchall()

    def value(self, statement: str, *values: Any) -> Any:
        (row,) = self.rows(statement, *values)
        return row[0]


def answer_document(choices: Sequence[str] | None, components: int, recipe_hash: str) -> dict[str, Any]:
    """What a worker says about an answer."""
    return {
        "text": choices[0] if choices else "yes",
        "choice": choices[0] if choices else None,
        "scores": [-0.25 - 1.25 * place for place in range(len(choices))] if choices else None,
        "token_ids": [17, 4, 2],
        "prompt_tokens": 12,
        "output_tokens": 3,
        "base_model_revision": "b1",
        "generation": {"seed": 7, "frame": "{prompt}", "device": "cpu", "dtype": "float32"},
        "timings": {"total": 12.5, "route": 1.25},
        "versions": {"torch": "2.13.0"},
        "merge": {
            "recipe_hash": recipe_hash,
            "dtype": "float32",
            "update_norm": 1.25,
            "sign_conflict": 0.125,
            "milliseconds": 0.5,
            "component_norms": [1.5] * components,
        },
    }


def unit(vector: npt.NDArray[np.float64]) -> Vector:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def text_of(vector: Vector) -> str:
    """The vector as pgvector reads it."""
    return "[" + ",".join(format(value, ".9g") for value in vector.tolist()) + "]"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
