"""Jobs that a worker with vLLM answered are answered the same by our own engine, from their evidence."""

import json
from pathlib import Path

import pytest
from tests.fix_answering import Stack
from tests.repository import ROOT
from tests.vllm_worker.conftest import PYTHON

from loradex.db.session import connect
from loradex.service.client import Request
from loradex.worker.replay import replay
from loradex.worker.settings import WorkerSettings


def test_answers_of_vllm_are_replayed_by_our_own_engine(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = stack.worker(
        ENGINE="vllm",
        DTYPE="float32",
        BATCH_BYTES=str(64 << 20),
        VLLM_ARGUMENTS=json.dumps({"enforce_eager": True, "max_num_seqs": 16}),
    )
    python = ROOT / Path(str(PYTHON))
    worker.within = ("/bin/sh", "-c", f"exec {python} -P -m loradex.worker", "worker")
    worker.environment = {"PYTHONPATH": str(ROOT / "src"), "TORCH_COMPILE_DISABLE": "1"}
    worker.start()
    asked = [Request(f"where do foxes trade {place}", max_new_tokens=12) for place in range(6)]
    asked += [Request("red or green", choices=["red", "green"])]
    with stack.client() as client:
        answers = [job.wait(timeout=200) for job in client.enqueue_many(asked)]
    with connect(stack.database_url) as connection:
        versions = connection.execute(
            "select distinct loradex.explain(id) -> 'versions' ->> 'vllm' from loradex.answers"
        ).fetchall()
    assert versions == [("0.32.0",)]

    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    replayed = list(replay(WorkerSettings(), [answer.answer_id for answer in answers], 0, 0))
    assert [one.same for one in replayed] == [True] * len(asked), replayed
