"""Workers with vLLM and with our own engine serve one queue, and their answers are replayed from the evidence."""

import json
from collections import Counter

import pytest
from tests.fix_answering import Stack
from tests.worker_process import WorkerProcess, asleep

from loradex.db.session import connect
from loradex.service.client import Answer, Request
from loradex.worker.replay import replay
from loradex.worker.settings import WorkerSettings

VLLM = "0.32.0"
PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"age": {"enum": [1, 2, 3]}},
        "required": ["age"],
        "additionalProperties": False,
    }
)


def answered(stack: Stack, asked: list[Request]) -> list[Answer]:
    with stack.client() as client:
        return [job.wait(timeout=200) for job in client.enqueue_many(asked)]


def versions(stack: Stack, answers: list[Answer]) -> Counter[str | None]:
    """How many of them vLLM gave, by its version; None: our own engine."""
    with connect(stack.database_url) as connection:
        rows = connection.execute(
            "select loradex.explain(id) -> 'versions' ->> 'vllm' from unnest(%s) id",
            ([answer.answer_id for answer in answers],),
        ).fetchall()
    return Counter(row[0] for row in rows)


def questions(count: int, about: str) -> list[Request]:
    return [Request(f"where do {about} trade {place}", max_new_tokens=12) for place in range(count)]


def replayed(stack: Stack, answers: list[Answer], monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    return [one.same for one in replay(WorkerSettings(), [answer.answer_id for answer in answers], 0, 0)]


def test_answers_of_vllm_are_replayed_by_our_own_engine(
    with_vllm: tuple[Stack, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, worker = with_vllm
    # One adapter of rank 4 for each of three tasks is registered, so there is rank for 12.
    assert '"max_lora_rank": 16' in worker.since(0)
    asked = [
        *questions(5, "foxes"),
        Request("red or green", choices=["red", "green"]),
        Request("how old is the fox", json_schema=PERSON, max_new_tokens=40),
        Request("which of them", regex="fox(es)?", max_new_tokens=12),
    ]
    answers = answered(stack, asked)
    assert versions(stack, answers) == {VLLM: len(asked)}
    assert replayed(stack, answers, monkeypatch) == [True] * len(asked), [one.text for one in answers]
    drawn = answered(stack, [Request("where do foxes trade", max_new_tokens=12, sampling_temperature=1.0)])
    (refused,) = replay(WorkerSettings(), [drawn[0].answer_id], 0, 0)
    assert "vLLM sampled it" in str(refused.problem)


def test_workers_of_both_kinds_answer_from_one_queue(
    with_vllm: tuple[Stack, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, theirs = with_vllm
    ours = stack.worker(DTYPE="float32").start()
    try:
        with asleep(ours):
            by_theirs = answered(stack, questions(3, "larks"))
        with asleep(theirs):
            by_ours = answered(stack, questions(3, "bells"))
        assert (versions(stack, by_theirs), versions(stack, by_ours)) == ({VLLM: 3}, {None: 3})
        by_both = answered(stack, questions(12, "drums"))
    finally:
        ours.stop()
    assert versions(stack, by_both).total() == len(by_both)
    every = [*by_theirs, *by_ours, *by_both]
    assert replayed(stack, every, monkeypatch) == [True] * len(every)
