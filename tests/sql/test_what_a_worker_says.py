"""Whatever a worker says of an answer: it is refused with LX001, or every view and function goes on."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import psycopg
from tests.world import World, answer_document

EXTREMES = (
    *("null", "true", "0", "-1", "0.5", "1e15", "1e308", "1e400", "-1e400", "1e-400"),
    *(
        "123456789012345678901234567890",
        '""',
        '"x"',
        '"NaN"',
        '"Infinity"',
        '"banana"',
        "[]",
        "[null]",
        "[1e400]",
    ),
    *('["x"]', "[[]]", "{}", '{"total": "abc"}', '{"total": null}', '{"total": 1e308}', '{"seed": -1e400}'),
)
"""JSON texts that are wrong or strange nearly everywhere."""

ASKED = (
    "select * from loradex.answer_provenance",
    "select * from loradex.adapter_usage",
    "select * from loradex.nucleus_profile",
    "select * from loradex.retrieval_coverage",
    "select * from loradex.task_confusion",
    "select * from loradex.queue_health",
    "select * from loradex.worker_health",
    "select * from loradex.reroute_all()",
    "select * from loradex.simulate_retire('boats-lora')",
    "select loradex.explain(id) from loradex.answers",
    "select o.* from loradex.jobs j cross join lateral loradex.job_outcome(j.id) o",
)


def places(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Every field, and every field of the objects in it."""
    for name, value in document.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, inner) for inner in value)


def replaced(document: Mapping[str, Any], place: tuple[str, ...], text: str) -> str:
    """The document as JSON, with another text at a place; a number may be one that Python cannot hold."""
    mark = "@@@"
    changed = json.loads(json.dumps(document))
    inside = changed if len(place) == 1 else changed[place[0]]
    inside[place[-1]] = mark
    return json.dumps(changed).replace(f'"{mark}"', text)


def refusal(world: World, job: UUID, attempt: int, document: str) -> str | None:
    """SQLSTATE with which an answer is refused; None if it is recorded."""
    try:
        with world.connection.transaction():
            world.rows("select loradex.record_answer(%s, %s, %s::jsonb)", job, attempt, document)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_no_answer_that_is_accepted_breaks_a_view(scratch: World) -> None:
    """A stolen login of a worker may write any answer that is accepted, and nothing takes it back."""
    accepted = refused = 0
    every = [*places(answer_document(["yes", "no"], 1, ""))]
    other_when_written = [(name,) for name in ("text", "choice", "scores", "token_ids", "output_tokens")]
    for kind, fields in (({"choices": ["yes", "no"]}, every), ({}, other_when_written)):
        wanted = [(place, text) for place in fields for text in EXTREMES]
        jobs = scratch.enqueue(*[kind] * len(wanted))
        attempts = scratch.claim(rows=len(jobs))
        routings = scratch.route(jobs, [scratch.near("boats")] * len(jobs))
        true = scratch.said(jobs[0], routings[jobs[0]])
        for job, (place, text) in zip(jobs, wanted, strict=True):
            state = refusal(scratch, job, attempts[job], replaced(true, place, text))
            assert state in {None, "LX001"}, (place, text, state)
            accepted += state is None
            refused += state is not None
    assert accepted > 0
    assert refused > accepted
    for statement in ASKED:
        scratch.rows(statement)
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []
